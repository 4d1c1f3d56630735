"""What the files of a release say, as words to set side by side: parameters, outputs of DVC, pinned packages.

What cannot be read is said as such: a comparison is for people, and goes on.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

_MOST_KEYS = 10_000


def flat(content: bytes) -> dict[str, str]:
    """Return a YAML file as dotted keys and the words of their values."""
    try:
        data = yaml.load(content, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {"(not YAML)": "yes"}
    found: dict[str, str] = {}
    waiting = [("", data)]
    # Bounded, because an alias of YAML may stand for itself, or for thousands.
    for _ in range(_MOST_KEYS):
        if not waiting:
            break
        prefix, value = waiting.pop()
        if isinstance(value, dict) and value:
            waiting += [(f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items()]
        elif prefix:
            found[prefix] = "null" if value is None else _scalar(value)
    return found


def _scalar(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def outs(content: bytes) -> dict[str, str]:
    """Return what a `dvc.lock` records: path -> digest and size."""
    try:
        data = yaml.load(content, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {"data/ (dvc.lock is not YAML)": "yes"}
    found = {}
    stages = data.get("stages") if isinstance(data, dict) else None
    for stage in (stages if isinstance(stages, dict) else {}).values():
        for out in _list(stage, "outs"):
            if isinstance(out, dict) and isinstance(out.get("path"), str):
                found[out["path"]] = _object(out)
    return found


def tracked(content: bytes) -> str:
    """Return what a `.dvc` file records: digest, size and number of files."""
    try:
        outs = _list(yaml.load(content, Loader=yaml.CSafeLoader), "outs")
    except (yaml.YAMLError, RecursionError, ValueError):
        return "not YAML"
    return ", ".join(_object(out) for out in outs if isinstance(out, dict))


def _list(data: object, key: str) -> list[Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, list) else []


def _object(out: Mapping[str, Any]) -> str:
    parts = [str(out.get("md5", "no digest"))[:12]]
    if isinstance(count := out.get("size"), int):
        parts.append(size(count) or "")
    if isinstance(files := out.get("nfiles"), int):
        parts.append(f"{files} files")
    return ", ".join(parts)


def pins(content: bytes) -> dict[str, str]:
    """Return what a file of requirements pins: normalised name -> version."""
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
