"""The words of a model card, and its page as Markdown."""

import re
from collections.abc import Mapping

# With a meaning in Markdown, in the middle of a line; an underscore only beside something else than a word
_MEANT = re.compile(r"[\\|<>`\[\]*~&@#!]|\b_|_\b")
NOT_EVALUATED = "not evaluated"

USE: Mapping[str, str] = {
    "intended": "research on face attributes and on the operation of models; sorting collections of images "
    "whose owner may use them so",
    "excluded": "decisions about people (work, credit, insurance, police, access); recognition of persons; "
    "guesses at health, origin, belief, emotion or sexual orientation; surveillance",
    "who must decide": "a person, who sees the image and can be asked",
}

_BOTH: Mapping[str, str] = {
    "labels": "attributes are the opinion of annotators, or of the drawing; Attractive, Young and Male are "
    "judgements of how a face looks, and no facts about a person",
    "skin": "Pale_Skin is the only label about skin; tones of skin are not evaluated apart",
    "independence": "intervals take images for independent; images of one person make them too narrow",
    "children": NOT_EVALUATED,
    "attacks": "inputs that are made to deceive the model are not evaluated",
}
_BY_SOURCE: Mapping[str, Mapping[str, str]] = {
    "synthetic": {"images": "learnt from drawn faces and evaluated on them: no result is about photographs"},
    "celeba": {
        "images": "learnt from photographs of celebrities, mostly young, posed and well lit; other cameras, "
        "poses and people are not evaluated"
    },
}


def limits(source: str) -> dict[str, str]:
    """Return the limits that follow from the source of the data."""
    return {**_BY_SOURCE.get(source, {}), **_BOTH}


def page(sections: Mapping[str, Mapping[str, str | None]]) -> str:
    """Return a card as Markdown."""
    lines = ["# Model card", ""]
    for title, fields in sections.items():
        lines += [f"## {title}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {_cell(value)} |" for name, value in fields.items()]
        lines.append("")
    return "\n".join(lines)


def _cell(value: str | None) -> str:
    if value is None:
        return NOT_EVALUATED
    # Names come from a file that people edit
    return _MEANT.sub(lambda match: f"&#{ord(match[0])};", " ".join(value.split()))
