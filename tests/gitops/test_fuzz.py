"""The readers under a fuzzer that follows the code: ten minutes each."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitops.gates.shadows import Shadowed
from gitops.history import audit
from gitops.history.events import Event
from gitops.release.approvals import Approval
from gitops.release.keys import PrivateKey
from gitops.release.serving import Serving
from gitops.statement.envelope import Envelope
from tests.dashboard.world import check_line
from tests.gitops.fuzz import READERS
from tests.gitops.release.test_calendar import OFFICE
from tests.support.figures import COMPARISON, measured, model_files
from tests.support.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "600"))


def _file(name: str) -> bytes:
    return (ROOT / name).read_bytes()[:16_000]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _tag(name: str, message: str) -> bytes:
    header = f"object {COMMIT}\ntype commit\ntag {name}\ntagger Ann <ann@acme> {int(AT.timestamp())} +0000"
    return f"{header}\n\n{message}\n".encode()


def _key(of: Callable[[PrivateKey], bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return of(PrivateKey.create(Path(folder) / "key"))


COMMIT, AT = "a" * 40, datetime(2026, 1, 1, tzinfo=UTC)
_VERDICT = Lab.verdict("prod", COMMIT, at=AT)
_APPROVAL = Approval(environment="prod", release=COMMIT, at=AT)
_SHADOWED = Shadowed(
    environment="prod",
    release=COMMIT,
    incumbent="b" * 40,
    model_sha256="c" * 64,
    incumbent_sha256="d" * 64,
    at=AT,
)
_COLUMN = {"distance": 0.02, "distance_threshold": 0.1, "reference_mean": 0.5}
SEEDS = {
    "release": _file("environments/prod/release.yaml"),
    "environment": _file("environments/prod/environment.yaml"),
    "calendar": OFFICE,
    "settings": _file("environments/prod/settings.env"),
    "lock": model_files("model")["dvc.lock"],
    "pipeline": _file("dvc.yaml"),
    "parameters": _file("params.yaml"),
    "parameters_schema": _file("schemas/params.schema.json"),
    "parameters_shown": _file("params.yaml"),
    "pointer": b"outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  size: 10\n  nfiles: 3\n  path: raw\n",
    "pins": _file("infra/uv.txt"),
    "commit": b"tree 0\nauthor Ann <ann@acme> 1 +0000\ncommitter Ann <ann@acme> 1 +0000\n\nWords\n",
    "verdict": _tag(_VERDICT.tag, _VERDICT.message),
    "approval": _tag(f"{_APPROVAL.folder}ann", _APPROVAL.message),
    "shadowed": _tag(_SHADOWED.tag, _SHADOWED.message),
    "keys": _key(lambda key: key.line("prod")),
    "signature": _key(lambda key: key.sign(b"")),
    "envelope": _key(lambda key: str(Envelope.sign({"_type": "a"}, "slsa", key)).encode()),
    "audit": audit.to_json(audit.chain([Event("2026-01-01T00:00:00Z", "change", release=COMMIT)])).encode(),
    "outline": b'with DAG("a", schedule="@daily"):\n    @task(retries=2)\n    def b(): ...\n',
    "batch": b"meta:\n  rows: {train: 3}\n  yes: {Smiling: 2}\nouts:\n- md5: 0\n  path: a\n",
    "licences": _file("data/licences.yaml"),
    "forgotten": _file("data/forgotten.json"),
    "contract": _file("dags/runtime.yaml"),
    "packages": _file("infra/uv.txt"),
    "evaluation": measured("model")["metrics/evaluation.json"],
    "comparison": _json(COMPARISON),
    "serving": Serving(environment="prod", commit=COMMIT, declared=COMMIT).model_dump_json().encode(),
    "decisions": _json(check_line(AT, "a")),
    "evidence": _json({"columns": {"brightness": _COLUMN}}),
    "date": b"2026-01-01",
    "yaml": _file("dvc.yaml"),
    "json": _VERDICT.message.partition("\n\n")[2].encode(),
}
"""A text that each reader takes. Without one a fuzzer never gets past the first key."""
WORDS = ("!!int", "&a", "*a", "<<", "1e999", "NaN", "null", "true", "[]", "{}")

pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS + 300)]


@pytest.fixture(scope="module")
def atheris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the fuzzer for these tests alone: it exists for few kinds of machines."""
    folder = tmp_path_factory.mktemp("atheris")
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "pip", "install", "--quiet", "--require-hashes", "--target", folder]
    subprocess.run([*command, "--requirements", ROOT / "tests/gitops/fuzz.txt"], check=True, timeout=300)
    return folder


@pytest.mark.parametrize("name", READERS)
def test_no_input_breaks_a_reader(atheris: Path, tmp_path: Path, name: str) -> None:
    seed, corpus, words = SEEDS[name], tmp_path / "corpus", tmp_path / "words"
    READERS[name](seed)
    corpus.mkdir()
    (corpus / "seed").write_bytes(seed)
    found = {*re.findall(r"\w+", seed.decode()), *WORDS}
    words.write_text("".join(f'"{word}"\n' for word in sorted(found)))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.gitops.fuzz_atheris", name, str(corpus)),
            *(f"-max_total_time={SECONDS}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=20000"),
            f"-dict={words}",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(atheris), str(ROOT), str(ROOT / "dags")])},
        capture_output=True,
        text=True,
        timeout=SECONDS + 200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr, "the fuzzer has run to its end"
