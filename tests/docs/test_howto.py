"""The commands on the pages of `docs/howto` work, each page in a place of its own."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from drawn_faces import SyntheticParams, draw_face
from face_attributes.data import images
from face_attributes.data.shards import ShardReader
from gitops.errors import GitopsError
from gitops.git.repository import Repository
from gitops.promotion.scope import of_file
from gitops.release.file import RELEASE_PATHS
from gitops.release.load import fetch_state
from gitops.text.sections import sections
from tests.docs.pages import ROOT, Block, Page
from tests.docs.places import Place, clone
from tests.support.figures import model_files
from tests.support.lab import Lab
from tests.support.scenes import Place as FacePlace
from tests.support.scenes import scene

PAGES = {path.stem: Page(path.relative_to(ROOT)) for path in sorted((ROOT / "docs/howto").glob("*.md"))}
HOW_TO = [Page(Path("docs") / name) for name in ("how-to.md", "how-to-platform.md")]
FEWEST_QUESTIONS, MOST_LINES = 26, 10
CONTENT = b"not quite ONNX"
ORPHAN = b"of no commit"
RAW = 300


def blocks(page: str) -> list[Block]:
    return [block for block in PAGES[page].blocks if block.place in ("lab", "own data")]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def put(remote: Path, content: bytes) -> Path:
    file = remote / "files" / "md5" / md5(content)[:2] / md5(content)[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def model(name: str) -> dict[str, bytes]:
    """The files of a model whose object is on the DVC remote."""
    files = model_files(name)
    out = f"{{path: models/model.onnx, hash: md5, md5: {md5(CONTENT)}, size: {len(CONTENT)}}}"
    lock = f"schema: '2.0'\nstages:\n  export:\n    cmd: make it\n    outs:\n    - {out}\n"
    for path in ("metrics/evaluation.json", "metrics/export.json"):
        record = json.loads(files[path]) | {"model_sha256": hashlib.sha256(CONTENT).hexdigest()}
        files[path] = json.dumps(record).encode()
    return files | {"dvc.lock": lock.encode()}


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "dvc-remote"
    put(folder, CONTENT)
    put(folder, ORPHAN)
    return folder


@pytest.fixture
def lab(tmp_path: Path, remote: Path) -> Lab:
    """A release in all environments, and a newer one on main that only dev has."""
    lab = Lab(tmp_path / "lab")
    config = f"[core]\n    analytics = false\n    remote = old\n['remote \"old\"']\n    url = {remote}\n"
    lab.land({".dvc/config": config.encode(), ".dvc/.gitignore": b"/cache\n/tmp\n", ".gitignore": b".venv\n"})
    pointer = f"outs:\n- md5: {md5(b'faces')}\n  size: 5\n  hash: md5\n  path: monday.parquet\n"
    lab.land({"data/labelled/monday.parquet.dvc": pointer.encode(), "src/drawn_faces/__init__.py": b""})
    first = lab.land(model("a"), message="Model a")
    for environment in ("staging", "prod"):
        lab.declare(environment, f"commit: {first}\n")
    for environment in ("dev", "staging", "prod"):
        lab.verify(environment, first)
    second = lab.land({"dags/other.py": b"# not ready\n"}, message="Not ready for prod")
    lab.verify("dev", second)
    git(lab, "pull", "--quiet", "origin", "main")
    git(lab, "update-index", "--refresh")
    (lab.clone.path / ".venv").symlink_to(sys.prefix)
    lab.state()
    return lab


def git(lab: Lab, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=lab.clone.path, check=True, capture_output=True, timeout=60)


@contextmanager
def verified(lab: Lab, tmp_path: Path) -> Iterator[None]:
    """Do as the environments do: verify what main declares."""
    over = threading.Event()
    own = Repository.clone(str(lab.origin.path), tmp_path / "environments", "--template=")
    failures: list[Exception] = []

    def environments() -> None:
        here = Lab.__new__(Lab)
        here.origin, here.clone, here.keys = lab.origin, own, lab.keys
        while not over.wait(0.5):
            try:
                state = fetch_state(own, "origin")
                for environment in state.environments:
                    commit = state.declared(environment).commit
                    if commit and not state.verdicts.verified(environment, commit):
                        here.verify(environment, commit)
            except GitopsError as error:
                failures.append(error)
                return

    thread = threading.Thread(target=environments)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert failures == []


@pytest.fixture
def walk(lab: Lab) -> Callable[..., str]:
    def walk(page: str, **variables: str) -> str:
        path = os.pathsep.join([str(lab.clone.path / ".venv/bin"), os.environ.get("PATH", os.defpath)])
        return Place(lab.clone.path, {"PATH": path, **variables}).walk(blocks(page), seconds=500)

    return walk


def declared(lab: Lab, environment: str) -> str:
    return lab.state().declared(environment).commit or ""


def test_each_page_is_a_screen_and_has_a_test() -> None:
    here = Path(__file__).read_text()
    for name, page in PAGES.items():
        assert len((ROOT / page.path).read_text().splitlines()) <= 50, page.path
        assert blocks(name), page.path
        assert "test" in of_file(str(page.path)), page.path
        assert f'"{name}"' in here, page.path


def test_each_question_has_a_short_answer() -> None:
    answers = {}
    for page in HOW_TO:
        answers |= sections((ROOT / page.path).read_text())
    assert len(answers) >= FEWEST_QUESTIONS
    for question, answer in answers.items():
        lines = [
            line for line in answer.splitlines() if line.strip() and not line.startswith(("<!--", "```"))
        ]
        assert len(lines) <= MOST_LINES, question
        assert "](" in answer or "`" in answer, question
    assert "docs/how-to.md" in "".join((ROOT / "README.md").read_text().partition("\n## ")[0])


@pytest.mark.long
def test_the_commands_of_the_questions_work(lab: Lab) -> None:
    path = os.pathsep.join([str(lab.clone.path / ".venv/bin"), os.environ.get("PATH", os.defpath)])
    pages = lab.clone.path / "docs"
    pages.mkdir()
    for page in ("rules.md", "rules-files.md", "glossary.md"):
        shutil.copy(ROOT / "docs" / page, pages)
    found = [block for page in HOW_TO for block in page.blocks if block.place == "lab"]
    printed = Place(lab.clone.path, {"PATH": path}).walk(found, seconds=500)
    assert "proposed and merged by " in printed
    assert lab.state().present("staging").holds() == ()


def test_a_hotfix_takes_all_of_the_release() -> None:
    restored = blocks("hotfix")[0].text.partition(" -- ")[2].replace("\\", "").split()
    assert {*restored} == {*RELEASE_PATHS, "metrics"}


@pytest.mark.long
def test_a_hotfix(lab: Lab, walk: Callable[..., str], tmp_path: Path) -> None:
    with verified(lab, tmp_path):
        walk("hotfix")
    fixed = declared(lab, "prod")
    assert (lab.origin.read(fixed, "dags/example.py") or b"").endswith(b"# fixed\n")
    assert lab.origin.read(fixed, "dags/other.py") is None
    assert lab.origin.read(lab.tip, "dags/other.py") == b"# not ready\n"


@pytest.mark.long
def test_the_dvc_remote_moves(lab: Lab, walk: Callable[..., str], tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    walk("storage", NEW=str(new))
    assert b"remote = new\n" in (lab.origin.read(lab.tip, ".dvc/config") or b"")
    assert {path.read_bytes() for path in new.rglob("*") if path.is_file()} == {CONTENT, ORPHAN}


@pytest.mark.long
def test_space_is_freed_and_no_release_loses_a_model(
    lab: Lab, walk: Callable[..., str], remote: Path
) -> None:
    git(lab, "switch", "--quiet", "--detach", "HEAD~4")  # before the model
    cache = lab.clone.path / ".dvc/cache"
    files = {content: put(cache, content) for content in (CONTENT, b"faces", ORPHAN)}
    lost = put(remote, CONTENT)
    lost.unlink()
    assert "put back: 2 objects" in walk("dvc-gc")
    assert [content for content, file in files.items() if file.exists()] == [CONTENT, b"faces"]
    assert lost.read_bytes() == CONTENT


def test_main_that_was_renamed(lab: Lab, walk: Callable[..., str]) -> None:
    tip = lab.tip
    lab.origin.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    lab.origin.git("branch", "--move", "main", "trunk")
    with pytest.raises(GitopsError, match="origin has no branch main, which declares the releases"):
        fetch_state(lab.clone, "origin")
    lab.origin.git("symbolic-ref", "HEAD", "refs/heads/main")
    assert walk("rename-main")
    assert lab.tip == tip


def test_a_labelled_batch_is_taken_back(lab: Lab, walk: Callable[..., str]) -> None:
    walk("labelled-batch")
    assert lab.origin.read(lab.tip, "data/labelled/monday.parquet.dvc") is None


def test_a_rollback_without_the_forge(lab: Lab, walk: Callable[..., str], tmp_path: Path) -> None:
    first = declared(lab, "prod")
    second = lab.tip
    lab.declare("prod", f"commit: {second}\n")
    lab.verify("prod", second)
    assert declared(lab, "prod") == second
    page = blocks("forge-down")
    away = lab.origin.path.with_name("away.git")
    path = os.pathsep.join([str(lab.clone.path / ".venv/bin"), os.environ.get("PATH", os.defpath)])
    place = Place(lab.clone.path, {"PATH": path, "COPY": str(tmp_path / "copy.git")})
    lab.origin.path.rename(away)
    place.walk(page[:1], seconds=300)
    away.rename(lab.origin.path)
    place.walk(page[1:], seconds=300)
    assert declared(lab, "prod") == first
    assert lab.state().verdicts.verified("prod", second)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of CelebA, with faces that are drawn."""
    folder = tmp_path_factory.mktemp("own") / "photographs"
    command = [sys.executable, "-m", "face_attributes", "draw", str(folder), "--count", "240", "--seed", "5"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (folder / "notes.docx").write_bytes(b"")
    return folder


@pytest.fixture
def raw_photographs(tmp_path: Path) -> Path:
    """A folder of drawn photographs: faces of another size, turned, somewhere in a larger picture."""
    folder = tmp_path / "mine"
    (folder / "img_align_celeba").mkdir(parents=True)
    random = np.random.default_rng(5)
    rows = ["image_id,Smiling,Eyeglasses"]
    for number in range(RAW):
        face, attributes = draw_face(5, number, SyntheticParams(count=RAW, seed=5))
        size = int(random.integers(320, 480)), int(random.integers(320, 480))
        place = FacePlace(*np.divide(size, 2), random.uniform(100, 150), random.uniform(-15, 15))
        name = f"IMG_{number:04d}.jpg"
        Image.fromarray(scene([face], [place], size)).save(folder / "img_align_celeba" / name, quality=92)
        rows.append(f"{name},{_sign(attributes['Smiling'])},{_sign(attributes['Eyeglasses'])}")
    (folder / "list_attr_celeba.csv").write_text("\n".join(rows) + "\n")
    return folder


def _sign(present: bool) -> int:
    return 1 if present else -1


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_photographs_as_they_come_make_a_model_that_scores_one(raw_photographs: Path, tmp_path: Path) -> None:
    place = clone(tmp_path / "visage")
    raw_photographs.rename(place.folder / "mine")
    (section,) = [block for block in Page(Path("docs/data.md")).blocks if block.place == "own data"]
    printed = place.walk([section], seconds=1400)
    assert "2 attributes of list_attr_celeba.csv, parts by a hash of each name" in printed

    unusable = (place.folder / "data/raw/quarantine.csv").read_text().splitlines()[1:]
    learnt = {
        name: images.decode(jpeg)
        for batch in ShardReader(sorted((place.folder / "data/raw").glob("*.parquet"))).batches()
        for name, jpeg in zip(batch.ids, batch.jpegs, strict=True)
    }
    assert len(learnt) + len(unusable) == RAW
    assert len(learnt) >= 0.95 * RAW
    inner = np.s_[60:180, 40:140]  # without the parts that a turned photograph lacks
    drawn = [draw_face(5, number, SyntheticParams(count=RAW, seed=5))[0][inner] for number in range(RAW)]
    for name, pixels in learnt.items():
        number = int(name[4:8])
        own, other = (
            np.abs(drawn[index].astype(int) - pixels[inner]).mean() for index in (number, number - 1)
        )
        assert own < 45, name
        assert own < other, name

    evaluation = json.loads((place.folder / "metrics/evaluation.json").read_text())
    assert evaluation["samples"] == pq.read_metadata(place.folder / "data/holdout.parquet").num_rows > 0
    assert set(evaluation["per_attribute"]) == {"Smiling", "Eyeglasses"}
    scores = pq.read_table(place.folder / "scores.parquet").to_pylist()
    assert set(learnt) <= {row["id"] for row in scores}
    assert all(row["box"] is not None and row["score"] > 0.9 for row in scores)
    assert len({row["Smiling_score"] for row in scores}) > 0.9 * RAW


@pytest.mark.long
@pytest.mark.parametrize("page", ["own-data", "attribute"])
def test_your_own_data(page: str, photographs: Path, tmp_path: Path) -> None:
    place = clone(tmp_path / "visage")
    shutil.copytree(photographs, place.folder / "photographs")
    printed = place.walk(blocks(page), seconds=500)
    assert "3 attributes of list_attr_celeba.txt, parts by " in printed
    assert "notes.docx" in printed
    assert (place.folder / "data/holdout.parquet").is_file()
