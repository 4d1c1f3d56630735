import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops.dvc.remote import MODEL
from gitops.errors import ModelError, NoModelError, StorageError
from gitops.git.repository import Repository
from gitops.git.workspace import Origin
from gitops.model.download import REFERENCE, fetch_model, fetch_reference
from tests.support.figures import model_files

CONTENT = b"not quite ONNX"
KNOWN = b"not quite Parquet"


@pytest.fixture
def origin(tmp_path: Path, dvc_remote: Path, made_once: Callable[..., None]) -> Repository:
    """An origin whose `main` records a model that the DVC remote has, as a training run leaves them."""
    made_once(make)
    return Repository(tmp_path / "origin.git")


def make(folder: Path) -> None:
    checkout = folder / "checkout"
    for name in ("models", "data"):
        (checkout / name).mkdir(parents=True)
    repository = Repository(checkout)
    repository.git("init", "-q", "-b", "main")

    def dvc(*args: str) -> None:
        subprocess.run(["dvc", *args], cwd=checkout, check=True, capture_output=True, timeout=120)

    dvc("init", "-q")
    stages = {
        name: {"cmd": f"printf '{content.decode()}' > {path}", "outs": [path]}
        for name, path, content in (("export", MODEL, CONTENT), ("reference", REFERENCE, KNOWN))
    }
    (checkout / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    dvc("repro", "-q")
    dvc("push", "-q")
    (checkout / "metrics").mkdir()
    figures = json.loads(model_files("a")["metrics/evaluation.json"])
    figures["model_sha256"] = hashlib.sha256(CONTENT).hexdigest()
    (checkout / "metrics/evaluation.json").write_text(json.dumps(figures))
    repository.git("add", "-A")
    repository.git("commit", "-q", "-m", "Model", env=repository.identity())
    bare = Repository.clone(str(checkout), folder / "origin.git", "--bare")
    bare.git("config", "uploadpack.allowAnySHA1InWant", "true")


def leftovers(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name not in ("releases", "workspaces"))


def test_fetched_once_then_needs_nobody(origin: Repository, dvc_remote: Path, tmp_path: Path) -> None:
    cache, release = tmp_path / "cache", origin.resolve("main")
    model = fetch_model(Origin(str(origin.path)), release, cache=cache)
    assert model.read_bytes() == CONTENT
    assert model == cache / f"{hashlib.sha256(CONTENT).hexdigest()}.onnx"
    dvc_remote.rename(dvc_remote.with_name("gone"))
    origin.path.rename(tmp_path / "gone.git")
    assert fetch_model(Origin(str(origin.path)), release, cache=cache) == model
    assert leftovers(cache) == [model.name]

    model.write_bytes(b"damaged")
    dvc_remote.with_name("gone").rename(dvc_remote)
    (tmp_path / "gone.git").rename(origin.path)
    assert fetch_model(Origin(str(origin.path)), release, cache=cache).read_bytes() == CONTENT


def test_another_digest_is_refused(origin: Repository, tmp_path: Path) -> None:
    figures = json.loads(origin.read("main", "metrics/evaluation.json") or b"") | {"model_sha256": "0" * 64}
    release = origin.commit_files("main", {"metrics/evaluation.json": json.dumps(figures).encode()}, "Lie")
    origin.git("update-ref", "refs/heads/lie", release)
    cache = tmp_path / "cache"
    with pytest.raises(ModelError, match=r"its digest is .*, metrics/evaluation\.json records 000000000000"):
        fetch_model(Origin(str(origin.path)), release, cache=cache)
    assert leftovers(cache) == []


def test_a_damaged_copy_on_the_remote_is_refused(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    cache, release = tmp_path / "cache", origin.resolve("main")
    (stored,) = (path for path in dvc_remote.rglob("*") if path.is_file() and path.read_bytes() == CONTENT)
    stored.chmod(0o644)
    stored.write_bytes(b"not quite 0NNX")
    with pytest.raises(ModelError, match=r"the DVC remote's copy .* dvc\.lock records .*; remove") as refusal:
        fetch_model(Origin(str(origin.path)), release, cache=cache)
    assert len(str(refusal.value).splitlines()) == 1
    assert leftovers(cache) == []

    stored.write_bytes(CONTENT)
    assert fetch_model(Origin(str(origin.path)), release, cache=cache).read_bytes() == CONTENT


def test_what_cannot_be_fetched(
    origin: Repository, dvc_remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Origin(str(origin.path))
    monkeypatch.setattr("gitops.dvc.remote._ATTEMPTS", 1)
    dvc_remote.rename(dvc_remote.with_name("gone"))
    with pytest.raises(StorageError, match=r"the DVC remote does not answer: .*: no such folder"):
        fetch_model(bare, origin.resolve("main"), cache=tmp_path / "cache")
    dvc_remote.mkdir()
    with pytest.raises(StorageError, match="the DVC remote has no such object: "):
        fetch_model(bare, origin.resolve("main"), cache=tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []
    release = origin.commit_files("main", {"metrics/evaluation.json": None}, "No figures")
    with pytest.raises(NoModelError, match=r"metrics/evaluation\.json: missing"):
        fetch_model(bare, release, cache=tmp_path / "cache")
    with pytest.raises(ModelError, match="main: not a full commit id"):
        fetch_model(bare, "main", cache=tmp_path / "cache")


def test_the_reference_is_fetched_as_the_model_is(
    origin: Repository, dvc_remote: Path, tmp_path: Path
) -> None:
    cache, release = tmp_path / "cache", origin.resolve("main")
    found = fetch_reference(Origin(str(origin.path)), release, cache=cache)
    assert found == cache / f"{hashlib.md5(KNOWN, usedforsecurity=False).hexdigest()}.parquet"
    assert found.read_bytes() == KNOWN
    dvc_remote.rename(dvc_remote.with_name("gone"))
    origin.path.rename(tmp_path / "gone.git")
    assert fetch_reference(Origin(str(origin.path)), release, cache=cache) == found
    assert leftovers(cache) == [found.name]


def test_a_damaged_reference_is_refused(origin: Repository, dvc_remote: Path, tmp_path: Path) -> None:
    digest = hashlib.md5(KNOWN, usedforsecurity=False).hexdigest()
    (stored,) = dvc_remote.rglob(digest[2:])
    stored.chmod(0o644)
    stored.write_bytes(b"damaged")
    shutil.rmtree(tmp_path / "checkout")
    with pytest.raises(ModelError, match=REFERENCE):
        fetch_reference(Origin(str(origin.path)), origin.resolve("main"), cache=tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def test_a_release_without_a_reference(origin: Repository, tmp_path: Path) -> None:
    release = origin.commit_files("main", {"dvc.lock": b"stages: {}"}, "No reference")
    origin.git("update-ref", "refs/heads/bare", release)
    with pytest.raises(ModelError) as caught:
        fetch_reference(Origin(str(origin.path)), release, cache=tmp_path / "cache")
    assert str(caught.value) == (
        f"{REFERENCE}: dvc.lock of {release[:12]} does not record it; run the stage reference again"
    )


def configure(repository: Repository, place: Path, message: str) -> str:
    """Put a `.dvc/config` that names `place` on main; return the commit."""
    content = f"[core]\n    remote = bucket\n['remote \"bucket\"']\n    url = {place}\n"
    commit = repository.commit_files(repository.resolve("main"), {".dvc/config": content.encode()}, message)
    repository.git("update-ref", "refs/heads/main", commit)
    return commit


@pytest.fixture
def moved(
    origin: Repository, dvc_remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Repository, str, Path]:
    """An origin whose `main` names a place that a release did not: origin, release and that place."""
    monkeypatch.delenv("DVC_GLOBAL_CONFIG_DIR")
    monkeypatch.setattr("gitops.dvc.remote._ATTEMPTS", 1)
    release = configure(origin, dvc_remote, "Name the old bucket")
    configure(origin, tmp_path / "new bucket", "Name the new bucket")
    return origin, release, tmp_path / "new bucket"


def test_a_release_from_before_the_data_moved_is_fetched(
    moved: tuple[Repository, str, Path], dvc_remote: Path, tmp_path: Path
) -> None:
    origin, release, place = moved
    dvc_remote.rename(place)
    model = fetch_model(Origin(str(origin.path)), release, cache=tmp_path / "cache")
    assert model.read_bytes() == CONTENT


@pytest.mark.parametrize("present", [True, False])
def test_a_former_place_is_asked_where_the_present_one_lacks_it(
    moved: tuple[Repository, str, Path], tmp_path: Path, present: bool
) -> None:
    origin, release, place = moved
    if present:
        place.mkdir()
    model = fetch_model(Origin(str(origin.path)), release, cache=tmp_path / "cache")
    assert model.read_bytes() == CONTENT


def test_a_setting_of_the_environment_comes_before_the_configuration_in_git(
    moved: tuple[Repository, str, Path], dvc_remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, release, _ = moved
    dvc_remote.rename(tmp_path / "third")
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "config").write_text(
        f"[core]\n    remote = x\n['remote \"x\"']\n    url = {tmp_path / 'third'}\n"
    )
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(settings))
    model = fetch_model(Origin(str(origin.path)), release, cache=tmp_path / "cache")
    assert model.read_bytes() == CONTENT


def test_where_no_place_has_it_the_present_one_is_named(
    moved: tuple[Repository, str, Path], dvc_remote: Path, tmp_path: Path
) -> None:
    origin, release, place = moved
    dvc_remote.rename(tmp_path / "gone")
    with pytest.raises(StorageError, match=f"{place}: no such folder"):
        fetch_model(Origin(str(origin.path)), release, cache=tmp_path / "cache")


def test_a_configuration_that_dvc_cannot_read_is_named_with_its_files(
    moved: tuple[Repository, str, Path], dvc_remote: Path, tmp_path: Path
) -> None:
    origin, release, _ = moved
    dvc_remote.rename(tmp_path / "gone")
    tip = origin.commit_files(origin.resolve("main"), {".dvc/config": b"[core\n"}, "Broken")
    origin.git("update-ref", "refs/heads/main", tip)
    with pytest.raises(
        StorageError, match=r"config file error: .*; DVC reads \.dvc/config, .*: correct them"
    ):
        fetch_model(Origin(str(origin.path)), release, cache=tmp_path / "cache")
