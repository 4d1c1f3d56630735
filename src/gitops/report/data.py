"""The part of the report about the data of a training, before and after a change."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gitops.errors import ParseError
from gitops.model.data import Contradictions, Data, Yes
from gitops.release.licences import BATCHES
from gitops.text import markdown as text
from gitops.text import parse
from gitops.text.markdown import code, plain

_MOST = 100
_Z = 1.959964
_SUFFIX = ".parquet.dvc"
_LARGEST = 9_999_999_999


@dataclass(frozen=True)
class Appended:
    """A labelled batch that a change appends, as its `.dvc` file describes it.

    Attributes:
        name: of the batch.
        rows: the number of images of each part.
        yes: the number of images with each attribute.

    """

    name: str
    rows: Mapping[str, int]
    yes: Mapping[str, int]


def appended(path: str, content: bytes) -> Appended | None:
    """Return the labelled batch of a `.dvc` file, or None if it is no batch, or of an earlier release."""
    if not (path.startswith(f"{BATCHES}/") and path.endswith(_SUFFIX)):
        return None
    try:
        meta = parse.mapping(parse.mapping(parse.yaml_value(content, parse.PARAMS)).get("meta"))
    except ParseError:
        return None
    rows, yes = (dict(_counts(meta.get(key))) for key in ("rows", "yes"))
    name = path.removeprefix(f"{BATCHES}/").removesuffix(_SUFFIX)
    return (
        Appended(name, rows, yes)
        if rows and all(count <= sum(rows.values()) for count in yes.values())
        else None
    )


def _counts(value: object) -> Iterator[tuple[str, int]]:
    for name, count in list(parse.mapping(value).items())[:_MOST]:
        number = str(count)
        if number.isascii() and number.isdigit() and len(number) <= len(str(_LARGEST)):
            yield str(name), int(number)


def markdown(before: Data | None, after: Data | None) -> str:
    """Return the tables of rows and shares, "" where the facts are not recorded, or equal."""
    if after is None or before == after:
        return ""
    facts = [row for row in _facts(before, after) if any(row[1:])]
    names = list(dict.fromkeys([*after.shares, *(before.shares if before else ())]))[:_MOST]
    shares = [
        [
            code(name),
            _share(before and before.shares.get(name)),
            _share(after.shares.get(name)),
            _moved(before and before.shares.get(name), after.shares.get(name)),
        ]
        for name in names
    ]
    parts = [
        text.table(["", "before", "after"], facts),
        text.table(["images with", "before", "after", ""], shares) if shares else "",
        "Intervals are 95 %. `plots/data.jpg` among the changed files shows some of the images, if none is a "
        "photograph of people.",
    ]
    return "\n\n".join(filter(None, parts))


def batches(found: Sequence[Appended], known: Data | None) -> str:
    """Return a table of the shares in appended batches, beside those of the data so far."""
    if not found:
        return ""
    names = list(dict.fromkeys(name for batch in found for name in batch.yes))[:_MOST]
    columns = ["", "the data so far", *(plain(batch.name) for batch in found)]
    rows = [["images", _number(known and sum(known.rows.values())), *(_rows(batch.rows) for batch in found)]]
    for name in names:
        shares = (interval(batch.yes.get(name), sum(batch.rows.values())) for batch in found)
        rows.append([code(name), _share(known and known.shares.get(name)), *shares])
    return text.table(columns, rows)


def interval(count: int | None, of: int) -> str:
    """Return a share with Wilson's 95% interval."""
    if count is None or not 0 <= count <= of or not of:
        return ""
    share, weight = count / of, _Z**2 / of
    middle, width = share + weight / 2, _Z * math.sqrt(share * (1 - share) / of + weight / of / 4)
    return f"{share:.1%} ({(middle - width) / (1 + weight):.1%} to {(middle + width) / (1 + weight):.1%})"


def _facts(before: Data | None, after: Data) -> Iterator[list[str]]:
    sides = (before, after)
    yield ["source", *(plain(side.source) if side else "" for side in sides)]
    for part in dict.fromkeys([*after.rows, *(before.rows if before else ())]):
        yield [f"{plain(part)} images", *(_number(side and side.rows.get(part)) for side in sides)]
    for batch in list(dict.fromkeys([*after.batches, *(before.batches if before else ())]))[:_MOST]:
        yield [f"of batch {code(batch)}", *(_number(side and side.batches.get(batch)) for side in sides)]
    yield ["contradictory labels", *(_share(side and side.contradictions) for side in sides)]
    repeated = [side.repeated if side else None for side in sides]
    yield ["left out as repetitions", *(_number(one and one.images) for one in repeated)]
    yield ["of them another cut of a photograph", *(_number(one and one.cuts) for one in repeated)]
    yield ["of them with other labels", *(_number(one and one.other_labels) for one in repeated)]
    for part in dict.fromkeys(name for one in repeated if one for name in one.parts):
        yield [
            f"of them there already in {plain(part)}",
            *(_number(one and one.parts.get(part)) for one in repeated),
        ]
    people = [side.people if side else None for side in sides]
    yield ["people", *(_number(one and one.people) for one in people)]
    yield ["people in several parts", *(_number(one and one.in_several_parts) for one in people)]


def _rows(rows: Mapping[str, int]) -> str:
    return f"{sum(rows.values()):,} ({', '.join(f'{count:,} {plain(part)}' for part, count in rows.items())})"


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _share(row: Yes | Contradictions | None) -> str:
    if row is None or row.share is None or row.share_low is None or row.share_high is None:
        return ""
    return f"{row.share:.1%} ({row.share_low:.1%} to {row.share_high:.1%})"


def _moved(before: Yes | None, after: Yes | None) -> str:
    ends = [
        end for row in (before, after) if row for end in (row.share_low, row.share_high) if end is not None
    ]
    if len(ends) < 4 or before is None or after is None or before.share is None or after.share is None:
        return ""
    points = 100 * (after.share - before.share)
    surely = ends[1] < ends[2] or ends[3] < ends[0]
    return f"{points:+.1f} points{', significant (95 %)' * surely}" if surely or abs(points) >= 0.05 else ""
