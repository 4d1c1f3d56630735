"""The command `explain`: the page of a rule, or the meaning of a word."""

import difflib
import posixpath
import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from gitops.cli import completion
from gitops.cli.options import OUT
from gitops.errors import GitopsError
from gitops.git.repository import Repository

PAGES = completion.RULES
GLOSSARY = "docs/glossary.md"
_LINK = re.compile(r"\[[^]]+\]\(([^)]+)\)")
_ROW = re.compile(r"^\| (?P<word>[^|]+) \| (?P<meaning>[^|]+) \| \[[^]]*\]\((?P<page>[^)]+)\) \|$", re.M)


def explain(
    rule: Annotated[
        str | None,
        typer.Argument(
            metavar="[RULE]",
            help="The name of a rule, as a failure names it, or a word of the glossary.",
            show_default=False,
            autocompletion=completion.rules,
        ),
    ] = None,
) -> None:
    """Print the meaning of a rule, the reason for it, and the way out. Without RULE, list all rules.

    Also explains the words of `docs/glossary.md`, such as drift.
    """
    root = Repository.find().path
    try:
        found = completion.read_rules(root)
    except (OSError, UnicodeDecodeError) as error:
        pages = " ".join(PAGES)
        problem = f"{pages} cannot be read ({error})"
        raise GitopsError(problem, command=f"git checkout main -- {pages}") from error
    if rule is None:
        width = max(map(len, found), default=0)
        for name, text in found.items():
            opening = " ".join(text.strip().partition("\n\n")[0].split())
            first = opening.partition(". ")[0].rstrip(".")
            OUT.print(f"{name:<{width}}  {first}", soft_wrap=True, markup=False)
        return
    name = "-".join(rule.lower().split())
    if name in found:
        text = _LINK.sub(lambda link: _target(link[1]), found[name].strip())
        OUT.print(f"{name}\n\n{text}", soft_wrap=True, markup=False)
        return
    if meaning := (words := _glossary(root)).get(rule.lower()):
        OUT.print(f"{rule.lower()}\n\n{meaning}", soft_wrap=True, markup=False)
        return
    every = [*found, *words]
    near = [other for other in every if name in other or other in name]
    near = (near or difflib.get_close_matches(name, every))[:5]
    shown = f"; near it: {', '.join(near)}" if near else ""
    command = shlex.join([".venv/bin/gitops", "explain", *near[:1]])
    raise GitopsError(f"no rule and no word of the glossary is called {rule}{shown}", command=command)


def _glossary(root: Path) -> dict[str, str]:
    """Return the meaning of each word in the glossary of the documents, with the page of the details."""
    try:
        rows = _ROW.finditer((root / GLOSSARY).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{GLOSSARY} cannot be read ({error})"
        raise GitopsError(problem, command=f"git checkout main -- {GLOSSARY}") from error
    return {row["word"]: f"{_sentence(row['meaning'])}\n\nMore: {_target(row['page'])}" for row in rows}


def _sentence(meaning: str) -> str:
    return f"{meaning[:1].upper()}{meaning[1:]}."


def _target(link: str) -> str:
    """Return where a link of a page in `docs` leads, from the root of the checkout."""
    return link if ":" in link else posixpath.normpath(f"docs/{link}")
