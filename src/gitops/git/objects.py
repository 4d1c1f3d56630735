"""The objects of a git repository as plain values, and the readers of commits and tags."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

LARGEST_COMMIT = 16 * 1024**2
"""The largest commit whose beginning is read. Git holds a commit in memory as a whole."""
LONGEST_COMMIT = 256 * 1024
"""The longest commit that is read whole, in bytes."""
LONGEST_TAG = 64 * 1024
"""The longest tag whose message is read, in bytes. A verdict takes about 600 bytes."""

_FULL_SHA = re.compile(r"[0-9a-f]{40}")
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_TIME = re.compile(rb"^(?:committer|tagger) [^\n]*?(-?[0-9]+) [-+][0-9]+$", re.MULTILINE)
_PERSON = re.compile(rb"^(author|committer|tagger) ([^\n]*?>)[^\n]*$", re.MULTILINE)
_SIGNATURE = re.compile(rb"^gpgsig (-----BEGIN [^\n]*(?:\n [^\n]*)*)", re.MULTILINE)
_COST = re.compile(rb"^Cost: (\{[^\n]*\})$", re.MULTILINE)
_LONGEST_SUBJECT, _LONGEST_TRAILERS = 200, 20_000


def is_full_sha(text: str) -> bool:
    """Whether `text` is a full commit id: 40 lower-case hexadecimal digits."""
    return _FULL_SHA.fullmatch(text) is not None


@dataclass(frozen=True)
class Tag:
    """A tag: its name without `refs/tags/`, its own object id, and the commit that it marks.

    `message`, `at` and `tagger` are those of an annotated tag. `signature` is the end of its object, b"" for
    a tag without one, and `signed` is everything before. `problem` is the reason if it is not an annotated
    tag on a commit that can be read, or None where it is one.
    """

    name: str
    object_id: str
    commit: str
    message: str = ""
    at: datetime | None = None
    problem: str | None = None
    signed: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=b"", repr=False)
    tagger: str = ""


@dataclass(frozen=True)
class Entry:
    """A file of a commit: its path (bytes that are not UTF-8 as `os.fsdecode` gives them), mode and id."""

    path: str
    mode: str
    object_id: str


@dataclass(frozen=True)
class Object:
    """An object: its id, its kind (`blob`, `tree`, `commit` or `tag`) and its size in bytes."""

    id: str
    kind: str
    size: int


@dataclass(frozen=True)
class Commit:
    """A commit's id, committer time and subject line: one printable line of bounded length.

    `author` and `committer` are such lines too, `NAME <ADDRESS>`. `signature` is the armored signature that
    it carries, valid or not. `cost` is the value of its trailer `Cost`, "" without one.
    """

    id: str
    at: datetime
    subject: str
    author: str = ""
    committer: str = ""
    signature: bytes = field(default=b"", repr=False)
    cost: str = field(default="", repr=False)


def moment(seconds: str) -> datetime:
    """Read a time of git, in seconds since 1970. Every date of a commit or tag is read here.

    Git takes any number, and none at all. A time before 1970 is read as 1970, one after 2100 as 2100.
    """
    if not re.fullmatch(r"-?[0-9]+", seconds) or seconds.startswith("-"):
        return _EARLIEST
    digits = seconds.lstrip("0")
    if len(digits) > len(str(int(_LATEST.timestamp()))):
        return _LATEST
    return min(datetime.fromtimestamp(int(digits or "0"), UTC), _LATEST)


def read_commit(commit: str, content: bytes) -> Commit:
    """Read a commit from the content of its object, or from the beginning of it."""
    header, _, message = content.partition(b"\n\n")
    time = _TIME.search(header)
    people = dict(reversed(_PERSON.findall(header)))
    signature = _SIGNATURE.search(header)
    cost = _COST.search(message[-_LONGEST_TRAILERS:])
    return Commit(
        commit,
        moment(time[1].decode() if time else ""),
        _line(message.lstrip(b"\n").partition(b"\n\n")[0]),
        _line(people.get(b"author", b"")),
        _line(people.get(b"committer", b"")),
        signature[1].replace(b"\n ", b"\n") + b"\n" if signature else b"",
        as_text(cost[1]) if cost else "",
    )


def _line(data: bytes) -> str:
    """Return text of a commit or tag as one printable line of bounded length."""
    text = as_text(data[: 4 * _LONGEST_SUBJECT])
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_LONGEST_SUBJECT]


def read_tag(name: str, object_id: str, entry: Object | None, content: bytes | None) -> Tag:
    """Read a tag from its object; `content` is None where that is longer than `LONGEST_TAG`."""
    if entry is None:
        return Tag(name, object_id, object_id, problem="its object is missing")
    if entry.kind != "tag":
        marks = "" if entry.kind == "commit" else f" on a {entry.kind}"
        return Tag(name, object_id, object_id, problem=f"a lightweight tag{marks}")
    if content is None:
        return Tag(name, object_id, object_id, problem=f"{entry.size:,} bytes long")
    # Where git itself divides it: at the last line that begins a signature.
    end = content.rfind(b"\n-----BEGIN SSH SIGNATURE-----\n") + 1 or len(content)
    signed, signature = content[:end], content[end:]
    header, _, message = signed.partition(b"\n\n")
    target = re.match(rb"object ([0-9a-f]{40,64})\ntype ([a-z]+)\n", header)
    time = _TIME.search(header)
    problem = None
    if target is None:
        problem = "not written by git"
    elif target[2] != b"commit":
        problem = f"a tag on a {target[2].decode()}"
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        text, problem = as_text(message), problem or "not UTF-8 text"
    return Tag(
        name,
        object_id,
        target[1].decode() if target else object_id,
        text.rstrip("\n"),
        moment(time[1].decode() if time else ""),
        problem,
        signed,
        signature,
        _line(person[2]) if (person := _PERSON.search(header)) else "",
    )


def as_text(data: bytes) -> str:
    """Return the text of git's output; bytes that are not UTF-8 become U+FFFD."""
    return data.decode("utf-8", errors="replace")
