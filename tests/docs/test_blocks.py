"""The blocks of shell in the pages do what they say: each page is walked in the places that it names."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops.promotion.scope import of_file
from tests.docs.pages import ROOT, SHELL, Block, Page, pages
from tests.docs.places import BlockError, Place, clone, down, engine

PLACES = ("clone", "engine", "compose", "lab", "own data")
NOWHERE = "nowhere, "
# In these pages no block of shell goes without a mark.
WHOLLY_MARKED = {
    "docs/airflow-2-commands.md",
    "docs/airflow-guide.md",
    "docs/airflow-settings.md",
    "docs/write-a-dag.md",
}
# Its blocks start Airflow again and again; make test runs its examples (test_dag_examples).
LONG = {"docs/write-a-dag.md"}
# A page in another language has the blocks of its twin.
TWINS = Path("docs/fr")

PAGES = [page for page in pages() if not page.path.is_relative_to(TWINS)]


def of(place: str) -> list[list[Block]]:
    """The blocks of each page that run in a place, and the DAGs that it has its reader save."""
    return [
        [block for block in page.blocks if block.place == place or block.mark.startswith("dag:")]
        for page in PAGES
        if any(block.place == place for block in page.blocks)
    ]


def named(blocks: list[Block]) -> str:
    return str(blocks[0].page)


def marked(blocks: list[Block]) -> object:
    page = named(blocks)
    return pytest.param(blocks, id=page, marks=pytest.mark.long if page in LONG else ())


@pytest.fixture(scope="session")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return clone(tmp_path_factory.mktemp("clone") / "visage")


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = engine(tmp_path_factory.mktemp("engine") / "visage")
    try:
        yield place
    finally:
        down(place)


# Half a minute where nothing else is at work, and ten times that where much is.
@pytest.mark.timeout(660)
@pytest.mark.parametrize("blocks", map(marked, of("clone")))
def test_what_a_page_does_in_a_clone(cloned: Place, blocks: list[Block]) -> None:
    cloned.walk(blocks, seconds=600)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("blocks", of("engine"), ids=named)
def test_what_a_page_does_where_the_engine_is_up(running: Place, blocks: list[Block]) -> None:
    running.walk(blocks, seconds=3000)


def test_every_mark_is_one_that_something_looks_at() -> None:
    for page in PAGES:
        for block in page.blocks:
            if block.mark.startswith("place:"):
                known = block.place in PLACES or block.place.removeprefix(NOWHERE) not in ("", block.place)
                assert known, f"{block}: {block.mark}: say {', '.join(PLACES)}, or {NOWHERE}and why"
                assert block.language in SHELL, f"{block}: {block.language}"


def test_a_page_that_is_wholly_marked_has_no_other_block() -> None:
    found = {str(page.path): page for page in PAGES}
    for name in WHOLLY_MARKED:
        shell = [block for block in found[name].blocks if block.language in SHELL]
        assert [str(block) for block in shell if not block.place] == []
    assert of("clone")
    assert of("engine")


def test_a_change_of_a_page_that_runs_is_tested() -> None:
    pages_that_run = {str(blocks[0].page) for blocks in of("clone")}
    assert [page for page in sorted(pages_that_run) if "test" not in of_file(page)] == []


def test_a_broken_block_is_named_and_what_comes_after_it_does_not_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '# Page\n\n<!-- place: clone -->\n\n```sh\nexport WHO=reader\ngreet() { echo "hello $WHO"; }\n```\n\n'
        "1. A list\n\n   <!-- place: clone -->\n\n   ```sh\n   greet\n   no-such-command --all\n   ```\n\n"
        "<!-- place: clone -->\n```sh\ntouch too-far\n```\n\n```sh\ntouch not-marked\n```\n"
    )
    blocks = [block for block in Page(Path("page.md"), tmp_path).blocks if block.place == "clone"]
    with pytest.raises(BlockError, match=r"page\.md:14: exit status 127\n") as caught:
        Place(tmp_path).walk(blocks, seconds=120)
    assert "hello reader\n" in str(caught.value)
    assert "no-such-command" in str(caught.value)
    assert "page.md:20" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.md"]


def test_a_block_without_end_is_named(tmp_path: Path) -> None:
    blocks = [Block(Path("page.md"), line, "sh", code, "") for line, code in ((0, ":"), (60, "sleep 60"))]
    with pytest.raises(BlockError, match=r"page\.md:60: no end within 3 s\n"):
        Place(tmp_path).walk(blocks, seconds=3)


def test_the_clone_is_the_checkout_as_it_is_now(tmp_path: Path) -> None:
    folder = clone(tmp_path / "visage").folder
    here, there = (subprocess.check_output(["git", "ls-files"], cwd=one, text=True) for one in (ROOT, folder))
    new = ["git", "ls-files", "--others", "--exclude-standard"]
    names = {*here.splitlines(), *subprocess.check_output(new, cwd=ROOT, text=True).splitlines()}
    assert set(there.splitlines()) == {name for name in names if (ROOT / name).is_file()}
    for name in ("README.md", "tests/docs/test_blocks.py"):
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
    assert subprocess.check_output(["git", "status", "--porcelain"], cwd=folder, text=True) == ""
    assert (folder / ".venv/bin/python").exists()
