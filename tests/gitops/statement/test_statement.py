"""Statements about the model of a commit: valid by their schemas, always the same, and signed."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2

from gitops.errors import GateError, StatementError
from gitops.release import licences
from gitops.release.keys import KeyList
from gitops.statement import cyclonedx, slsa
from gitops.statement.envelope import Envelope, encoded
from gitops.statement.materials import Materials
from tests.support.figures import measured
from tests.support.lab import ROOT, Lab

LOCK = b"""schema: '2.0'
stages:
  collect:
    cmd: collect
    deps:
    - {path: src/face_attributes/data, md5: 11111111111111111111111111111111.dir, size: 9, nfiles: 2}
    outs:
    - {path: data/raw, hash: md5, md5: 22222222222222222222222222222222.dir, size: 9, nfiles: 2}
  export:
    cmd: make it
    deps:
    - {path: data/raw, hash: md5, md5: 22222222222222222222222222222222.dir, size: 9, nfiles: 2}
    outs:
    - {path: models/model.onnx, hash: md5, md5: 33333333333333333333333333333333, size: 5}
"""
PACKAGES = b"numpy==2.1.0 \\\n    --hash=sha256:aa\ntorch==2.13.0\n"


@pytest.fixture
def materials(lab: Lab) -> Materials:
    files: dict[str, bytes | None] = {
        **measured("a"),
        "dvc.lock": LOCK,
        "requirements.lock": PACKAGES,
        "params.yaml": b"profile: full\ndata:\n  source: celeba\n",
        licences.PATH: (ROOT / licences.PATH).read_bytes(),
        "data/labelled/monday.parquet.dvc": b"outs: []\n",
        ".python-version": b"3.11\n",
    }
    return Materials.load(lab.origin, lab.land(files))


def test_provenance_is_an_in_toto_statement_with_the_predicate_of_slsa(materials: Materials) -> None:
    made = slsa.statement(materials)
    # Each raises for a field that the specification does not have
    statement = json_format.ParseDict(made, statement_pb2.Statement())
    predicate = json_format.ParseDict(made["predicate"], provenance_pb2.Provenance())
    assert (statement.type, statement.predicate_type) == (slsa.STATEMENT, slsa.PREDICATE)
    assert dict(statement.subject[0].digest) == {"sha256": materials.model_sha256}
    found = {one.name: dict(one.digest) for one in predicate.build_definition.resolved_dependencies}
    assert found["commit"] == {"gitCommit": materials.commit}
    assert found["src/face_attributes/data"] == {"md5": "1" * 32}
    assert found["requirements.lock"] == {"sha256": materials.dependencies_sha256}
    assert "runtime" in found
    assert "data/raw" not in found
    assert [one.name for one in predicate.run_details.byproducts] == ["data/raw"]


def test_a_bill_of_materials_is_valid_cyclonedx(materials: Materials) -> None:
    made = cyclonedx.bill(materials)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made)) is None
    component = made["metadata"]["component"]
    assert component["hashes"] == [{"alg": "SHA-256", "content": materials.model_sha256}]
    components = {one["name"]: one for one in made["components"]}
    assert components["numpy"]["purl"] == "pkg:pypi/numpy@2.1.0"
    assert components["source celeba"]["licenses"][0]["license"]["name"].startswith("CelebA agreement")
    assert components["batch monday"]["licenses"][0]["license"]["name"] == "not stated"
    assert components["data/raw"]["hashes"] == [{"alg": "MD5", "content": "2" * 32}]
    metrics = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0]["confidenceInterval"]["lowerBound"] < metrics[0]["value"]


@pytest.mark.parametrize("form", ["slsa", "cyclonedx"])
def test_a_signed_statement_is_verified_and_a_changed_one_is_not(
    lab: Lab, materials: Materials, form: str
) -> None:
    make = {"slsa": slsa.statement, "cyclonedx": cyclonedx.bill}[form]
    made, key = make(materials), lab.key("dev")
    listed = KeyList.read(key.line("dev"))
    text = str(Envelope.sign(made, form, key))
    Envelope.read(text.encode()).verify(make(Materials.load(lab.origin, materials.commit)), form, listed)
    other = KeyList.read(lab.key("staging").line("staging"))
    with pytest.raises(StatementError, match=r"the key SHA256:\S+ that signed it is not listed"):
        Envelope.read(text.encode()).verify(made, form, other)
    changed: dict[str, Any] = made | {"more": 1}
    with pytest.raises(StatementError, match="carries another statement than this commit's"):
        Envelope.read(text.encode()).verify(changed, form, listed)
    forged = json.loads(text) | {"payload": json.loads(str(Envelope.sign(changed, form, key)))["payload"]}
    with pytest.raises(StatementError, match="not one of its content"):
        Envelope.read(json.dumps(forged).encode()).verify(changed, form, listed)
    wrong = "slsa" if form == "cyclonedx" else "cyclonedx"
    with pytest.raises(StatementError, match="the envelope carries application/"):
        Envelope.read(text.encode()).verify(made, wrong, listed)


@pytest.mark.parametrize("payload", ["A", "AAAAA", "AA="])
def test_a_payload_that_is_not_base64_is_refused(lab: Lab, payload: str) -> None:
    key = lab.key("dev")
    content = json.loads(str(Envelope.sign({}, "slsa", key))) | {"payload": payload}
    with pytest.raises(StatementError, match="its payload is not base64"):
        Envelope.read(json.dumps(content).encode()).verify({}, "slsa", KeyList.read(key.line("dev")))


def test_the_signature_is_one_of_no_tag(lab: Lab, materials: Materials) -> None:
    key = lab.key("dev")
    made = slsa.statement(materials)
    envelope = Envelope.sign(made, "slsa", key)
    signature = base64.b64decode(envelope.signatures[0].sig)
    assert KeyList.read(key.line("dev")).objection(encoded(made), signature)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"payloadType": 1, "payload": "", "signatures": []}']
)
def test_a_file_that_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(StatementError, match="the envelope is not valid"):
        Envelope.read(content)


def test_a_commit_without_a_model_has_no_statement(lab: Lab) -> None:
    with pytest.raises(GateError, match="only a commit with a trained model"):
        Materials.load(lab.origin, lab.tip)


def test_the_command_prints_signs_and_verifies(
    lab: Lab,
    materials: Materials,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gitops.cli.statement import provenance

    monkeypatch.chdir(lab.clone.path)
    lab.clone.fetch(lab.remote)
    provenance(materials.commit)
    assert json.loads(capsys.readouterr().out)["subject"][0]["digest"]["sha256"] == materials.model_sha256
    lab.key("dev")
    monkeypatch.setenv("VISAGE_VERIFIER_KEY", str(lab.keys / "dev"))
    provenance(materials.commit, sign=True)
    file = tmp_path / "envelope.json"
    file.write_text(capsys.readouterr().out)
    provenance(materials.commit, verify=file, environment="dev")
    assert "dev signed this statement" in capsys.readouterr().out
    with pytest.raises(StatementError):
        provenance(materials.commit, verify=file, environment="staging")
