"""The pages give the commands that gitops gives: none ends one step early, and none differs."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gitops.text import instructions
from gitops.text.instructions import COMPOSE, LOCAL, meeting
from tests.docs.pages import SHELL, Page, pages

GITHUB = meeting("https://github.com/OWNER/NAME")
MAKERS = {
    "promote": instructions.promote,
    "promote --wave": instructions.promote_wave,
    "rollback": instructions.roll_back,
    "hold": instructions.hold,
    "unhold": instructions.unhold,
}
PROPOSAL = re.compile(
    r"(?:\.venv/bin/)?gitops (promote --wave|promote|rollback|hold|unhold) (\S+)(.*--push.*)"
)
# What has these commands without the rest of the way: a refusal, whose point it is that it ends there.
REFUSED = "Cannot "
# Commands that change nothing may stand between.
LOOKS = ("git fetch", "git diff", "git show", "git log")
PAGES = pages()


def steps(page: Page) -> list[str]:
    """Return the commands of a page's shell blocks in their order, and the refusals that it shows."""
    found = []
    for block in page.blocks:
        if block.language not in SHELL:
            found += [REFUSED] if block.text.startswith(REFUSED) else []
            continue
        for line in block.text.splitlines():
            if line.startswith("# merge the pull request"):
                found.append(line)
            else:
                found += [_plain(command) for command in re.sub(r"\s+# .*$", "", line).split(" && ")]
    return [step for step in found if not step.startswith(LOOKS)]


def _plain(command: str) -> str:
    """Return a command without what differs where it does the same."""
    try:
        return shlex.join(shlex.split(command)).removeprefix(".venv/bin/")
    except ValueError:
        return command  # a part of a longer one


def proposals() -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield each proposal of the pages: where, the commands from it on, and what gitops prints per engine."""
    for page in PAGES:
        told = steps(page)
        for number, command in enumerate(told):
            found = PROPOSAL.fullmatch(command)
            following = told[number : number + 3]
            if found is None or following[1:2] == [REFUSED]:
                continue
            verb, environment, rest = found.groups()
            options = shlex.split(rest)
            named = [name for name in ("override", "reason", "until") if f"--{name}" in options]
            more = {name: options[options.index(f"--{name}") + 1] for name in named}
            whole = [
                [
                    _plain(step) if not step.startswith("#") else step
                    for step in MAKERS[verb](environment, at, **more)
                ]
                for at in (LOCAL, replace(COMPOSE, before=()), replace(GITHUB, before=()))
            ]
            yield f"{page.path}: {command}", following, whole


@pytest.mark.parametrize(("where", "following", "whole"), [*proposals()], ids=lambda value: str(value)[:60])
def test_a_proposal_is_followed_by_its_merge(
    where: str, following: list[str], whole: list[list[str]]
) -> None:
    # Who goes back must see that it worked; who promotes may do more first.
    needed = 3 if "rollback" in where else 2
    assert following[:needed] in [commands[:needed] for commands in whole], where


def test_the_pages_for_the_night_have_the_way_back() -> None:
    for name in ("README.md", "docs/runbooks/accuracy.md", "docs/runbooks/verify_release.md"):
        blocks = "".join(block.text for page in PAGES if str(page.path) == name for block in page.blocks)
        assert instructions.text(instructions.roll_back("prod")) in blocks, name
    compose = "".join(
        block.text for page in PAGES if str(page.path) == "docs/compose.md" for block in page.blocks
    )
    assert instructions.text(instructions.roll_back("prod", COMPOSE)) in compose
    github = "".join(
        block.text for page in PAGES if str(page.path) == "docs/github-setup.md" for block in page.blocks
    )
    assert instructions.text(instructions.roll_back("prod", GITHUB)) in github


def test_no_sentence_ends_with_a_proposal() -> None:
    """A command among words is easily taken for all that there is to do."""
    found = [
        f"{page.path}: {code}"
        for page in PAGES
        for section in page.sections
        for code in section
        if (match := PROPOSAL.fullmatch(code)) and f"{match[1]}/{match[2]}" not in " ".join(section)
    ]
    assert found == []
