"""`gitops storage move`: the objects of a DVC remote in another place, and releases of before from there."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gitops.cli import app
from gitops.dvc.move import point
from gitops.dvc.remote import MODEL, Storage
from gitops.git.workspace import Origin
from gitops.model.download import fetch_model
from tests.faults import server
from tests.support.figures import model_files
from tests.support.lab import Lab

CONTENT = b"not quite ONNX"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def put(place: Path, content: bytes, suffix: str = "") -> Path:
    digest = md5(content) + suffix
    file = place / "files" / "md5" / digest[:2] / digest[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def contents(place: Path) -> dict[str, bytes]:
    return {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*") if file.is_file()}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> Callable[..., Result]:
    monkeypatch.chdir(lab.clone.path)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def places(lab: Lab, tmp_path: Path) -> tuple[Path, Path]:
    """Two places. Main's configuration names the first, which has the files of a release of staging."""
    old, new = tmp_path / "old", tmp_path / "new"
    new.mkdir()
    put(old, CONTENT)
    folder = json.dumps([{"md5": md5(b"a"), "relpath": "a"}, {"md5": md5(b"b"), "relpath": "b"}]).encode()
    for content, suffix in ((folder, ".dir"), (b"a", ""), (b"b", "")):
        put(old, content, suffix)
    outs = (
        f"    - {{path: {MODEL}, hash: md5, md5: {md5(CONTENT)}, size: {len(CONTENT)}}}\n"
        f"    - {{path: data/prepared, hash: md5, md5: {md5(folder)}.dir, size: 2, nfiles: 2}}\n"
    )
    lock = f"schema: '2.0'\nstages:\n  export:\n    cmd: make it\n    outs:\n{outs}"
    config = f"[core]\n    analytics = false\n    remote = old\n['remote \"old\"']\n    url = {old}\n"
    figures = model_files("a")
    evaluation = json.loads(figures["metrics/evaluation.json"])
    evaluation["model_sha256"] = hashlib.sha256(CONTENT).hexdigest()
    figures["metrics/evaluation.json"] = json.dumps(evaluation).encode()
    commit = lab.land(figures | {"dvc.lock": lock.encode(), ".dvc/config": config.encode()})
    lab.verify("dev", commit)
    lab.declare("staging", f"commit: {commit}\n")
    (lab.clone.path / ".dvc").mkdir()
    (lab.clone.path / ".dvc" / "config").write_text(config)
    add = ["dvc", "remote", "add", "new", str(new)]
    subprocess.run(add, cwd=lab.clone.path, check=True, capture_output=True, timeout=120)
    return old, new


def test_a_release_of_before_is_served_from_the_new_place(
    lab: Lab, places: tuple[Path, Path], run: Callable[..., Result], tmp_path: Path
) -> None:
    old, new = places
    release = lab.state().present("staging").commit or ""
    put(new, b"a").write_bytes(b"cut")  # a copy that was interrupted
    shown = run("storage", "move", "new", "--push")
    assert shown.exit_code == 0, shown.output
    assert "new has 4 of the 4 objects of old" in shown.output
    assert "4 were copied, 0 were there" in shown.output
    assert "2 of 2 outputs of the releases that dev, staging, prod ran are there" in shown.output
    for file in old.rglob("*"):
        if file.is_file():
            assert (new / file.relative_to(old)).read_bytes() == file.read_bytes()
    assert run("merge", "storage/move", "--without-dvc-remote").exit_code == 0
    assert b"remote = new\n" in (lab.origin.read(lab.tip, ".dvc/config") or b"")
    assert lab.origin.git("branch", "--list", "storage/*") == ""
    shutil.rmtree(old)
    model = fetch_model(Origin(str(lab.origin.path)), release, cache=tmp_path / "cache")
    assert model.read_bytes() == CONTENT
    lab.clone.git("fetch", "--quiet", "origin")
    lab.clone.git("checkout", "--quiet", "--force", "origin/main")
    assert Storage(lab.clone.path).presence(lab.state().main.lock).finding is None


def test_a_damaged_object_is_named_and_stops_the_move(
    lab: Lab, places: tuple[Path, Path], run: Callable[..., Result]
) -> None:
    old, new = places
    put(old, b"b").write_bytes(b"B")
    before = lab.tip
    shown = run("storage", "move", "new", "--push")
    assert shown.exit_code == 1
    assert f"{md5(b'b')}: damaged in old, not copied" in shown.stderr
    assert "data/prepared of" in shown.stderr
    assert "1 objects are damaged; push them from where they were made" in shown.stderr
    assert lab.origin.git("branch", "--list", "storage/*") == ""
    assert not (new / "files" / "md5" / md5(b"b")[:2] / md5(b"b")[2:]).exists()
    assert lab.tip == before
    put(old, b"b")
    again = run("storage", "move", "new")
    assert again.exit_code == 0
    assert "1 were copied, 3 were there" in again.output
    assert "+    remote = new" in again.output


def test_a_remote_that_is_not_there(places: tuple[Path, Path], run: Callable[..., Result]) -> None:
    assert "no DVC remote newer (there are: old, new)" in run("storage", "move", "newer").stderr
    assert "old and old are the same place" in run("storage", "move", "old").stderr


def test_a_relative_address_is_not_proposed(
    lab: Lab, places: tuple[Path, Path], run: Callable[..., Result]
) -> None:
    new = places[1]
    command = ["dvc", "remote", "modify", "new", "url", os.path.relpath(new, lab.clone.path)]
    subprocess.run(command, cwd=lab.clone.path, check=True, capture_output=True, timeout=120)
    refused = run("storage", "move", "new", "--push")
    assert "the address of new is relative, and each checkout has another place" in refused.stderr
    assert f"dvc remote modify new url {new}" in refused.stderr
    assert list(new.iterdir()) == []


def test_settings_outside_the_repository_are_named(
    lab: Lab, places: tuple[Path, Path], run: Callable[..., Result]
) -> None:
    command = ["dvc", "remote", "default", "--local", "old"]
    subprocess.run(command, cwd=lab.clone.path, check=True, capture_output=True, timeout=120)
    shown = run("storage", "move", "new", "--push")
    assert shown.exit_code == 0
    assert "dvc remote default --local new" in shown.output
    assert lab.origin.git("branch", "--list", "storage/*") == ""


@pytest.mark.parametrize(
    "before",
    [
        None,
        b"[core]\n    remote = old\n    analytics = false\n['remote \"old\"']\n    url = /old\n",
        b"['remote \"new\"']\n    url = /elsewhere\n[core]\nremote=old\n",
    ],
)
def test_the_configuration_names_the_new_place(before: bytes | None, tmp_path: Path) -> None:
    from dvc.config import Config

    (tmp_path / "config").write_bytes(point(before, "new", {"url": "/new", "jobs": "4"}))
    config = Config(dvc_dir=str(tmp_path))
    assert config["core"]["remote"] == "new"
    assert (config["remote"]["new"]["url"], config["remote"]["new"]["jobs"]) == ("/new", 4)
    assert ("old" in config["remote"]) == (b'"old"' in (before or b""))
    assert point(point(before, "new", {"url": "/new"}), "new", {"url": "/new"}) == point(
        before, "new", {"url": "/new"}
    )


@pytest.mark.long
def test_objects_go_from_a_folder_to_s3_and_back(
    lab: Lab,
    places: tuple[Path, Path],
    run: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = places
    bucket = tmp_path / "served/bucket"
    bucket.mkdir(parents=True)
    storage = server.s3(bucket.parent, tmp_path / "s3.log")
    for name, value in server.S3_CLIENT.items():
        monkeypatch.setenv(name, value)
    for command in (
        ["add", "s3", "s3://bucket/dvc"],
        ["modify", "s3", "endpointurl", f"http://127.0.0.1:{storage.port}"],
    ):
        subprocess.run(["dvc", "remote", *command], cwd=lab.clone.path, check=True, timeout=120)
    storage.start()
    try:
        for source, target in (("old", "s3"), ("s3", "new")):
            shown = run("storage", "move", target, "--from", source)
            assert shown.exit_code == 0, shown.output
            assert f"{target} has 4 of the 4 objects of {source}" in shown.output
            assert "2 of 2 outputs of the releases" in shown.output
    finally:
        storage.kill()
    assert contents(new) == contents(old)
    refused = run("storage", "move", "new", "--from", "s3")
    assert refused.exit_code == 1
    assert len(refused.stderr.splitlines()) == 3
    assert "Could not connect to the endpoint URL" in refused.stderr
