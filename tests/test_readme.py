"""The front page keeps up with the repository: its rooms, pages, addresses, commands and variables."""

import re
from pathlib import Path

import pytest

from gitops.git.repository import Repository
from gitops.release import settings
from tests.support.environments import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
# A reader of the front page need not know the first; stages write the others, so nobody works in them.
UNNAMED = {".ci", ".dvc", "docs", "metrics", "models", "plots", "search"}


def tracked() -> list[str]:
    listed = Repository(ROOT).git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_every_room_is_named() -> None:
    parts = [name.split("/") for name in tracked()]
    rooms = {part[0] for part in parts if len(part) > 1} - UNNAMED - {"infra", "src"}
    rooms |= {f"{part[0]}/{part[1]}" for part in parts if part[0] in ("infra", "src") and len(part) > 2}
    named = set(re.findall(r"`([\w./-]+?)/`", README))
    assert rooms - named - {name.split("/")[0] for name in named} == set()
    assert [name for name in sorted(named) if not (ROOT / name).is_dir()] == []


def test_every_page_can_be_reached() -> None:
    """From the front page, by links of its own or of the pages that it leads to."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#:\s]+\.md)", page.read_text())
        waiting += [target for link in links if (target := (page.parent / link).resolve()).is_file()]
    # The forge's own, folders' own, where the site of the documents begins, pages that notices link to, and a
    # model card, which comes with a release.
    elsewhere = (".github/", "benchmarks/", "data/", "docs/index.md", "docs/runbooks/", "metrics/card.md")
    pages = {ROOT / name for name in tracked() if name.endswith(".md") and not name.startswith(elsewhere)}
    assert {str(page.relative_to(ROOT)) for page in pages - reached} == set()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_addresses_are_those_of_the_settings(environment: str) -> None:
    said = settings.load(environment, ROOT).variables
    assert f"| http://{said['WEB_HOST']}:{said['WEB_PORT']} |" in README
    [row] = [line for line in README.splitlines() if line.startswith(f"| {environment} |")]
    shown = f"airflow / {said['DEFAULT_PASSWORD'] or '`make status` shows the password'}"
    assert row.endswith(f"| {shown} |")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/tutorial.md", "docs/promotion.md"])
def test_commands_of_make_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    lines = re.findall(r"^\s*make ([a-z -]+)", text, re.MULTILINE) + re.findall(r"`make ([a-z -]+)", text)
    named = {word for line in lines for word in line.split()}
    assert named - TARGETS == set()
    assert named or page == "docs/promotion.md"
