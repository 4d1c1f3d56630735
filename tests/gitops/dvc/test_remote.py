import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gitops.dvc import remote as storage
from gitops.dvc import run as dvc_run
from gitops.dvc.lockfile import Lock
from gitops.dvc.remote import MODEL, Presence, Storage
from gitops.errors import RuleError
from gitops.promotion.evidence import Evidence
from gitops.promotion.merge import check, merge
from gitops.promotion.promotions import promote
from tests.support.figures import model_files
from tests.support.lab import Lab

CONTENT = b"not quite ONNX"
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_ATTEMPTS", 1)


def trained(*, md5: str = MD5, size: int = len(CONTENT)) -> dict[str, bytes]:
    out = f"{{path: {MODEL}, hash: md5, md5: {md5}, size: {size}}}"
    lock = f"schema: '2.0'\nstages:\n  export:\n    cmd: make it\n    outs:\n    - {out}\n"
    return model_files("a") | {"dvc.lock": lock.encode()}


def put(remote: Path, content: bytes = CONTENT) -> Path:
    file = remote / "files" / "md5" / MD5[:2] / MD5[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def objection(lab: Lab, files: dict[str, bytes], **options: bool) -> str:
    finding = Storage(lab.clone.path, **options).presence(Lock.load(lab.origin, lab.commit(files))).finding
    return str(finding or "")


def test_what_dvc_itself_pushed_is_there(lab: Lab, dvc_remote: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "models").mkdir(parents=True)

    def run(*command: str) -> None:
        subprocess.run(command, cwd=checkout, check=True, capture_output=True, timeout=120)

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    (checkout / MODEL).write_bytes(CONTENT)
    run("dvc", "add", MODEL)
    run("dvc", "push")
    assert objection(lab, trained()) == ""


def test_what_the_remote_does_not_hold(lab: Lab, dvc_remote: Path) -> None:
    assert f"({MD5}) is not on the DVC remote; push it from where it was made: dvc push {MODEL}" in objection(
        lab, trained()
    )
    file = put(dvc_remote, b"short")
    assert "is damaged on the DVC remote: 5 bytes, dvc.lock records 14; remove it" in objection(
        lab, trained()
    )
    # Zeros of the right length under the right name
    file.write_bytes(bytes(len(CONTENT)))
    assert "is damaged on the DVC remote: its content has the MD5 digest " in objection(lab, trained())
    file.write_bytes(CONTENT)
    assert objection(lab, trained()) == ""


def test_no_remote_at_all(lab: Lab) -> None:
    assert "no DVC remote is configured; configure one" in objection(lab, trained())
    optional = Storage(lab.clone.path, optional=True)
    assert optional.presence(Lock.load(lab.origin, lab.commit(trained()))) == Presence(checked=False)


def test_a_remote_that_does_not_answer_is_not_none(lab: Lab, dvc_remote: Path) -> None:
    dvc_remote.rmdir()
    said = objection(lab, trained(), optional=True)
    assert f"the DVC remote does not answer: {dvc_remote}: no such folder; try again when it answers" in said


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (
            "../../none",
            "no such folder; the address is relative, and each checkout has another place; name the",
        ),
        (
            "file:///srv/models",
            "DVC takes an address with file: as a folder of the checkout; name the whole path",
        ),
    ],
)
def test_an_address_that_only_looks_whole_is_named(lab: Lab, url: str, problem: str) -> None:
    folder = lab.clone.path / ".dvc"
    folder.mkdir()
    config = f"[core]\n    remote = mine\n['remote \"mine\"']\n    url = {url}\n"
    (folder / "config.local").write_text(config)
    said = objection(lab, trained())
    assert problem in said
    assert "whole path: dvc remote modify mine url /PATH" in said
    assert f"({folder}/config.local comes before .dvc/config)" in said
    (folder / "config.local").rename(folder / "config")
    assert problem in dvc_run.storage_problem(lab.clone.path)
    assert "config.local" not in objection(lab, trained())


def test_a_remote_that_takes_too_long(lab: Lab, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_TIMEOUT", 0.05)
    assert "did not answer within 0.05 s" in objection(lab, trained())


def test_it_is_asked_again_before_it_is_given_up(
    lab: Lab, dvc_remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_ATTEMPTS", 3)
    put(dvc_remote)
    away = dvc_remote.rename(dvc_remote.with_name("away"))
    real, asked = Storage._ask_once, []

    def ask(self: Storage, place: Path, md5: str, target: Path | None, **options: Any) -> object:
        asked.append(md5)
        if len(asked) == 2:
            away.rename(dvc_remote)
        return real(self, place, md5, target, **options)

    monkeypatch.setattr(Storage, "_ask_once", ask)
    assert objection(lab, trained()) == ""
    assert asked == [MD5, MD5]


def test_the_engine_of_the_checkout_says_where_it_is(
    lab: Lab, dvc_remote: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(dvc_remote)
    monkeypatch.delenv("DVC_GLOBAL_CONFIG_DIR")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(isolated_home / "xdg"))
    assert "no DVC remote" in objection(lab, trained())
    shutil.copytree(isolated_home / "dvc", lab.clone.path / ".visage" / "dvc-config")
    assert objection(lab, trained()) == ""


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        (
            b"{",
            "not written by DVC, did not find expected node content; "
            "run: source .venv/bin/activate && dvc repro",
        ),
        (
            b"stages: {x: 1}\n",
            "not written by DVC, the stage 'x' is not a mapping; run: source .venv/bin/activate && dvc repro",
        ),
        (b"stages: {x: {}}\n", f"records no {MODEL}; only a commit with a trained model can be released"),
        (
            f"stages: {{e: {{outs: [{{path: {MODEL}}}]}}}}".encode(),
            "has no MD5 digest; run: source .venv/bin/activate && dvc repro",
        ),
    ],
)
def test_a_lock_that_says_nothing(lab: Lab, lock: bytes, says: str) -> None:
    assert says in objection(lab, {"dvc.lock": lock})


def test_check_promote_and_merge_ask_for_it(lab: Lab, dvc_remote: Path) -> None:
    lab.branch("candidate/a", trained())

    def evidence() -> Evidence:
        return Evidence.of(lab.clone, Storage(lab.clone.path))

    head = lab.origin.resolve("candidate/a")
    assert [finding.subject for finding in check(lab.clone, lab.state(), head, evidence()).findings] == [
        "dvc.lock"
    ]
    with pytest.raises(RuleError, match=r"dvc\.lock: models/model\.onnx of .* is not on the DVC remote"):
        merge(lab.clone, lab.remote, "candidate/a", evidence=evidence())
    file = put(dvc_remote)
    merge(lab.clone, lab.remote, "candidate/a", evidence=evidence())
    lab.verify("dev", lab.tip)
    lab.promote("staging")
    promotion = lab.origin.resolve("promote/staging")
    assert check(lab.clone, lab.state(), promotion, evidence()).findings == ()
    file.unlink()
    with pytest.raises(RuleError, match="is not on the DVC remote"):
        promote(lab.clone, lab.state(), "staging", lab.remote, evidence())
    assert "is not on the DVC remote" in str(check(lab.clone, lab.state(), promotion, evidence()).findings[0])
