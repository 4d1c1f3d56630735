"""Find wording in documents, comments and messages that plain English avoids.

    python scripts/plain_english.py FILE ...

Prints a line for each finding and exits with status 1 if there are any. In Markdown it searches everything
except code, link targets, quotations and italics; in Python, comments and strings; and in any other file, the
comments that begin with `#`.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Rule(NamedTuple):
    """Wording to avoid, and its replacement."""

    wording: re.Pattern[str]
    instead: str


def _rule(wording: str, instead: str) -> Rule:
    spaced = wording.replace(" ", r"\s+")
    return Rule(re.compile(rf"\b(?:{spaced})\b", re.IGNORECASE), instead)


# A question may follow these words; after any others, "what" stands for a noun.
_ASKING = re.compile(
    r"\b(?:ask|decide|explain|find out|guess|know|learn|matter|see|understand|wonder)(?:s|ed|ing)?\s+$",
    re.IGNORECASE,
)
_WHAT = _rule("what(?! if)", "name the thing: 'the model that ships', not 'what ships'")

RULES = (
    _rule("says|said", "print, return, state, show, declare"),
    _rule(r"say(?!,)", "print, return, state, show; for an assumption: suppose"),
    _rule(
        r"(?:tells|told|tell)(?!\s+you\b|(?:\s+\S+){1,4}\s+(?:to|from|apart)\b)",
        "print, report, show, notify",
    ),
    _rule(r"h(?:old|olds|eld|olding)\s[^.;:|]{0,60}?\bagainst", "compare ... with"),
    _rule(r"stands? against", "blocks, refuses"),
    _rule(r"(?<!there\s)(?:is|are|was|were) (?-i:none)(?! of)", "is not a ..., there is no ..."),
    _rule(r"commoner answer", "majority-class baseline"),
    _rule(r"(?:more than|beyond) chance", "significant (95 %)"),
    _rule("anew", "again"),
    _rule(r"likewise(?=\.)", "repeat the noun"),
    _rule(
        r"(?<=[.|]\s)\w{3,}ed(?: (?:at|by|for|in|with))? are",
        "subject first: 'x are compared', not 'compared are x'",
    ),
    _rule("ledger", "release state"),
    _rule("rehearsal", "DAG smoke test"),
    _rule("episodes?", "alert"),
)

_MARKDOWN = re.compile(
    r"^[ ]*(?P<fence>```|~~~).*?^[ ]*(?P=fence)[ ]*$"  # blocks of code
    r"|<!--.*?-->|(?P<ticks>`+).+?(?P=ticks)|(?<=\])\([^)\s]*\)|<[^>\n]*>"  # comments, code, targets, HTML
    r'|"[^"\n]{1,80}"|(?<![*\w])\*[^*\s][^*]*\*(?![*\w])',  # quotations, italics
    re.DOTALL | re.MULTILINE,
)
_PYTHON = re.compile(r"``?[^`]+``?|\{[^{}\n]*\}|^\s*>>>.*$", re.MULTILINE)
# A string of one or two words is a name or a key.
_SENTENCE = re.compile(r"\w+\W+\w+\W+\w+")


def _blank(match: re.Match[str]) -> str:
    """Return filler of the same length and with the same line ends, so that positions stay the same."""
    return re.sub(r"[^\n]", "_", match[0])


def _python(source: str) -> str:
    """Return comments and strings in their places, and filler for everything else."""
    lines = [
        ["\n" if letter == "\n" else " " for letter in line] for line in source.splitlines(keepends=True)
    ]
    originals = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (tokenize.COMMENT, tokenize.STRING) or not _SENTENCE.search(token.string):
            continue
        (first, start), (last, end) = token.start, token.end
        for number in range(first, last + 1):
            line = originals[number - 1]
            span = slice(start if number == first else 0, end if number == last else len(line))
            lines[number - 1][span] = line[span]
        if token.type == tokenize.COMMENT:
            lines[first - 1][start] = " "  # It would be a heading of Markdown.
    return _PYTHON.sub(_blank, "".join("".join(line) for line in lines))


def _comments(source: str) -> str:
    """Return the comments that begin with `#` in their places, and filler for everything else."""
    comment = re.compile(r"(?:^|(?<=\s))#.*")
    lines = []
    for line in source.split("\n"):
        match = comment.search(line)
        lines.append(" " * match.start() + match[0].replace("#", " ", 1) if match else "")
    return _PYTHON.sub(_blank, "\n".join(lines))


def _is_question(prose: str, match: re.Match[str]) -> bool:
    """Return True for a heading, a direct question and an indirect question."""
    line = prose[prose.rfind("\n", 0, match.start()) + 1 : match.start()]
    end = re.search(r"[.?!|](?=\s|$|\"|')|\n\s*\n", prose[match.end() :])
    return bool(
        line.startswith("#") or (end and end[0] == "?") or _ASKING.search(prose[: match.start()][-40:])
    )


def findings(text: str, suffix: str = ".md") -> Iterator[tuple[int, str, str]]:
    """Yield the line, the wording and its replacement for each finding.

    Args:
        text: The contents of a file.
        suffix: The end of its name, which decides how it is read.

    """
    if suffix == ".md":
        prose = _MARKDOWN.sub(_blank, text)
    else:
        prose = _python(text) if suffix == ".py" else _comments(text)
    matches = [(match, rule.instead) for rule in RULES for match in rule.wording.finditer(prose)]
    matches += [
        (match, _WHAT.instead) for match in _WHAT.wording.finditer(prose) if not _is_question(prose, match)
    ]
    for match, instead in sorted(matches, key=lambda pair: pair[0].start()):
        yield prose.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), instead


def main(paths: list[str]) -> int:
    """Print the findings in files, and return the exit status."""
    status = 0
    for path in paths:
        for line, wording, instead in findings(Path(path).read_text("utf-8"), Path(path).suffix):
            print(f"{path}:{line}: {wording} -> {instead}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
