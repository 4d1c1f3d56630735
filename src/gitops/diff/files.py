"""Summaries of a release's files for a comparison: parameters, outputs of DVC, pinned packages.

A file that cannot be read is reported as such, and the comparison goes on.
"""

import re
from collections.abc import Mapping
from typing import Any

from gitops.dvc import lockfile
from gitops.errors import ParseError
from gitops.text import parse


def flat(content: bytes) -> dict[str, str]:
    """Return a YAML file as dotted keys and the words of their values, in the order of the file."""
    try:
        data = parse.yaml_value(content, parse.PARAMS)
    except ParseError as error:
        return {"(cannot be read)": str(error)}
    values: dict[str, str] = {}
    waiting: list[tuple[str, parse.Value]] = [("", data)]
    while waiting:
        prefix, value = waiting.pop()
        if isinstance(value, dict) and value:
            inner = [(f"{prefix}.{key}" if prefix else key, item) for key, item in value.items()]
            waiting += reversed(inner)
        elif prefix:
            values[prefix] = _words(value)
    return values


def _words(value: parse.Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_words, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_words(item)}' for key, item in value.items())}}}"
    return "null" if value is None else value


def outs(content: bytes, pipeline: bytes = b"") -> dict[str, str]:
    """Return the outputs of a `dvc.lock`, with the `dvc.yaml` beside it: path -> digest and size."""
    try:
        return {path: _object(out) for path, out in lockfile.outs(content, pipeline)}
    except ParseError as error:
        return {"data/ (dvc.lock cannot be read)": str(error)}


def tracked(content: bytes) -> str:
    """Return the record of a `.dvc` file: digest, size and number of files."""
    try:
        data = parse.yaml_value(content, parse.PARAMS)
    except ParseError as error:
        return f"cannot be read: {error}"
    outs = parse.sequence(parse.mapping(data).get("outs"))
    return ", ".join(_object(out) for out in outs if parse.is_mapping(out))


def _object(out: Mapping[str, Any]) -> str:
    parts = [str(out.get("md5", "no digest"))[:12]]
    if re.fullmatch(r"[0-9]{1,18}", count := str(out.get("size"))):
        parts.append(size(int(count)) or "")
    if re.fullmatch(r"[0-9]{1,18}", files := str(out.get("nfiles"))):
        parts.append(f"{files} files")
    return ", ".join(parts)


def pins(content: bytes) -> dict[str, str]:
    """Return the versions that a requirements file pins: normalised name -> version."""
    text = content.decode("utf-8", errors="replace")
    pins = re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*(?:===?|@)\s*([^\s;\\]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins}


def size(count: int | None) -> str | None:
    """Return a number of bytes for people."""
    if count is None:
        return None
    for limit, unit in ((1_000_000, "MB"), (1000, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count} bytes"
