"""Every link of every page leads somewhere, and no page is long; nothing is asked of the network."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import Page, pages

PAGES = pages()
LONGEST = 1_500


def broken(page: Page) -> list[str]:
    """The links of a page that lead nowhere in the repository, each with its line."""
    found = []
    for link in page.links:
        parts = urlsplit(link.target)
        if parts.scheme or parts.netloc:
            continue
        target = page.root / page.path
        if parts.path:
            target = (target.parent / unquote(parts.path)).resolve()
        where = f"{page.path}:{link.line}: {link.target}"
        if not target.is_relative_to(page.root.resolve()) or not target.exists():
            found.append(f"{where}: no such file")
        elif parts.fragment and target.suffix == ".md":
            there = Page(target.relative_to(page.root.resolve()), page.root.resolve())
            if unquote(parts.fragment) not in there.anchors:
                found.append(f"{where}: no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.path))
def test_every_link_leads_somewhere(page: Page) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.path))
def test_a_page_is_short(page: Page) -> None:
    assert page.words <= LONGEST or page.path.name == "CHANGELOG.md"


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "other.md").write_text("# Été, `code` & more\n\n# Twice\n\n# Twice\n")
    (tmp_path / "docs/page.md").write_text(
        "[a](../other.md#été-code--more) [b](../other.md#twice-1) [c](https://example.org/) [d](#here)\n\n"
        "# Here\n\n[e](other.md) [f](../other.md#ete) ![g](no.svg) <img src='no.png'>\n\n"
        "[i](/etc/passwd)\n\n"
        "[h][reference]\n\n[reference]: ../../outside.md\n"
    )
    assert [line.rpartition(": ")[0] for line in broken(Page(Path("docs/page.md"), tmp_path))] == [
        "docs/page.md:5: other.md",
        "docs/page.md:5: ../other.md#ete",
        "docs/page.md:5: no.svg",
        "docs/page.md:5: no.png",
        "docs/page.md:7: /etc/passwd",
        "docs/page.md:9: ../../outside.md",
    ]
