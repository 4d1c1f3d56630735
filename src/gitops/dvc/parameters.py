"""Check parameter files with the JSON Schema of the commit itself.

The stages check `params.yaml` with a model in `src/face_attributes`. That is code of the commit, and nobody
runs it where credentials are. `schemas/params.schema.json` is the same model as data, and a test keeps both
equal. So the commit's own model judges a commit that changes the model and the parameters together, and none
of its code is run. In addition to the words of JSON Schema the schema has these:

- `x-by-source`: which key names the source, and the sources. A mapping with one key for each source stands
  for the value of the source that is chosen.
- `x-rules`: `{"value": A, "within": B}`, where B is a list of values or an interval (`low`, `high`), and
  `{"low": A, "below": B}`.
"""

import difflib
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, cast

from gitops.errors import ParseError
from gitops.text import parse
from gitops.text.parse import is_mapping, is_sequence

SCHEMA = "schemas/params.schema.json"
FILE = "params.yaml"


_NO_SCHEMA = "not a JSON Schema as python -m face_attributes schema writes it"
_MISFITS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors of a check by rules or references that fit nothing."""
_MOST_PARTS, _MOST_FAULTS, _LONGEST_NAME = 5_000, 100, 60
_ONE = ("items", "additionalProperties", "propertyNames")
_LISTS = ("anyOf",)
_NAMED = ("properties", "patternProperties", "$defs")
_WORDS = {
    *("$schema", "$ref", "title", "description", "default", "type", "enum", "const", "required"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "uniqueItems"),
    *("minProperties", "maxProperties", "minLength", "maxLength"),
    *(*_ONE, *_LISTS, *_NAMED),
}
_OURS = {"x-by-source", "x-rules"}
_REPEATED = re.compile(r"[*+?{]")


class FaultError(Exception):
    """The problem with a file."""


def read(content: bytes) -> Any:
    """Read YAML as the stages read it, into plain values.

    Raises:
        FaultError: The content is not YAML with sections.

    """
    from ruamel.yaml import YAML, YAMLError

    try:
        # The parser below has no limits: a few aliases of aliases would fill the memory.
        parse.yaml_value(content, parse.PARAMS)
    except ParseError as error:
        raise FaultError(f"line {error.line}: {error}" if error.line else str(error)) from error
    try:
        document: Any = YAML().load(io.BytesIO(content))  # pyright: ignore[reportUnknownMemberType] its stream has no type
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        line = f"line {mark.line + 1}: " if mark else ""
        raise FaultError(line + " ".join(str(problem).split())) from error
    except UnicodeDecodeError as error:
        raise FaultError("not UTF-8 text") from error
    # Its constructors raise these for a value such as 2026-13-45 or 0x_.
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise FaultError(f"a value that cannot be read: {' '.join(str(error).split())[:200]}") from error
    except RecursionError as error:
        raise FaultError("nested too deeply") from error
    if not isinstance(document, dict):
        raise FaultError("must hold sections (profile, data, prepare ...)")
    return _plain(document)


def is_overlay(path: str) -> bool:
    """Whether a file is merged into `params.yaml` to make a profile of it."""
    return re.fullmatch(r"params\.[^./]+\.yaml", path) is not None


def merged(document: Mapping[str, Any], overlay: Mapping[str, Any], sources: list[str]) -> dict[str, Any]:
    """Return a document with the values of an overlay in their places.

    Raises:
        FaultError: The overlay has a key that the document does not have, or a section where it has a value.

    """
    return _merged(document, overlay, sources, ())


def _merged(
    document: Mapping[str, Any], overlay: Mapping[str, Any], sources: list[str], trail: tuple[str, ...]
) -> dict[str, Any]:
    merged = dict(document)
    for key, value in overlay.items():
        where = ".".join((*trail, key))
        if key not in document:
            raise FaultError(f"{where}: {_unknown(key, document)}")
        before = document[key]
        if _by_source(before, sources) or _by_source(value, sources):
            merged[key] = value
        elif is_mapping(value) and is_mapping(before):
            merged[key] = _merged(before, value, sources, (*trail, key))
        elif is_mapping(value) or is_mapping(before):
            raise FaultError(f"{where}: must {'not ' * isinstance(value, dict)}be a section")
        else:
            merged[key] = value
    return merged


def load_schema(content: bytes) -> dict[str, Any]:
    """Read a schema.

    Raises:
        FaultError: The content is not a JSON Schema.

    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        schema: Any = parse.json_value(content, parse.SCHEMA)
        if not is_mapping(schema):
            raise FaultError(_NO_SCHEMA)
        Draft202012Validator.check_schema(schema)
        _bounded(schema)
        set(sources(schema))  # a name that is no text fits no source
    except (ParseError, SchemaError, *_MISFITS) as error:
        raise FaultError(_NO_SCHEMA) from error
    return schema


def _bounded(schema: Mapping[str, Any]) -> None:
    """Refuse a schema with which a check could take long: whoever makes a branch may choose it.

    Raises:
        FaultError: It has another word, a slow expression, or too many parts with all references.

    """
    waiting: list[tuple[Any, int]] = [(schema, 0)]
    for _ in range(_MOST_PARTS):
        if not waiting:
            return
        part, depth = waiting.pop()
        if isinstance(part, bool):
            continue
        if depth > parse.SCHEMA.depth:
            raise FaultError("nested too deeply")
        if odd := sorted(part.keys() - _WORDS - (_OURS if part is schema else set())):
            raise FaultError(f"{odd[0][:40]}: a word that is not checked here")
        for pattern in part.get("patternProperties", ()):
            if len(_REPEATED.findall(pattern)) > 1:
                raise FaultError(f"{pattern[:40]}: an expression that repeats more than one thing")
        parts = [part[word] for word in _ONE if word in part]
        parts += [one for word in _LISTS for one in part.get(word, ())]
        parts += [one for word in _NAMED for one in part.get(word, {}).values()]
        if "$ref" in part:
            folder, name = part["$ref"].rsplit("/", 1)
            parts.append(schema["$defs"][name] if folder == "#/$defs" else None)
        waiting += [(one, depth + 1) for one in parts]
    raise FaultError("too many parts")


def sources(schema: Mapping[str, Any]) -> list[str]:
    """Return the sources for each of which a value may be given."""
    return list(schema.get("x-by-source", {"sources": []})["sources"])


def faults(schema: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """Return the faults of a document, a line each: the key, its value, and the values that are allowed."""
    known = sources(schema)
    if not known:
        return _faults(schema, document)
    chosen = _at(document, key := schema["x-by-source"]["key"])
    if faults := _faults(schema, for_source(document, chosen if chosen in known else known[0], known)):
        return faults
    # As in the stages: the values of another source must be valid, and need not lie in its search space.
    relations = [rule for rule in schema.get("x-rules", []) if "within" not in rule]
    for other in known:
        if faults := _faults({**schema, "x-rules": relations}, for_source(document, other, known)):
            return [f"for {key} {other}: {fault}" for fault in faults]
    return []


def _faults(schema: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    try:
        # As in the stages: relations between two values are checked once each value is valid.
        return _schema_faults(schema, document) or list(islice(_rule_faults(schema, document), _MOST_FAULTS))
    except _MISFITS as error:
        raise FaultError(f"its schema is {_NO_SCHEMA}") from error


def _schema_faults(schema: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    from jsonschema import Draft202012Validator, validators
    from referencing import Registry

    # JSON knows no difference between 5 and 5.0, no NaN and no infinity; the stages do.
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": _is_integer,
            "number": _is_number,
        }
    )
    # A registry of its own asks nobody for a schema that is not in it.
    extend = cast(Any, validators).extend
    validator = extend(Draft202012Validator, type_checker=types)(schema, registry=cast(Any, Registry)())
    errors: list[Any] = sorted(islice(validator.iter_errors(document), _MOST_FAULTS), key=_place)
    lines = list(dict.fromkeys(islice(chain.from_iterable(map(_lines, errors)), _MOST_FAULTS)))
    unknown = {line.rpartition("did you mean ")[2].rstrip("?") for line in lines if "did you mean " in line}
    # A missing key is often a misspelt one.
    return [line for line in lines if not (line.endswith(": missing") and _last(line) in unknown)]


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: object, value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _place(error: Any) -> list[str]:
    return list(map(str, error.path))


def _last(line: str) -> str:
    return line.removesuffix(": missing").rpartition(".")[2]


def _lines(error: Any) -> Iterator[str]:
    """Return an error of the schema library as a line of our own."""
    where = ".".join(map(str, error.absolute_path))
    prefix = f"{where}." if where else ""
    value, limit = error.instance, error.validator_value
    if error.validator == "anyOf" and error.context:
        # If a value may also be null, the other branch names the fault.
        for branch in error.context:
            if (branch.validator, branch.validator_value) != ("type", "null"):
                yield from _lines(branch)
        return
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for key in value:
            if key not in known:
                yield f"{prefix}{key}: {_unknown(key, known)}"
        return
    if "propertyNames" in error.schema_path and error.validator == "enum":
        yield f"{prefix}{value}: {_unknown(value, limit)}"
        return
    if error.validator == "required":
        yield from (f"{prefix}{key}: missing" for key in limit if key not in value)
        return
    words = {
        "minimum": f"must be at least {limit}",
        "maximum": f"must be at most {limit}",
        "exclusiveMinimum": f"must be more than {limit}",
        "exclusiveMaximum": f"must be less than {limit}",
        "minItems": f"must have at least {limit} items",
        "uniqueItems": "names one twice",
        "enum": f"must be one of {', '.join(map(str, limit)) if is_sequence(limit) else limit}",
        "const": f"must be {limit}",
        "type": f"must be of type {limit}",
    }
    yield f"{where or 'the file'}: {_short(value)} {words.get(str(error.validator), 'does not fit')}"


def _rule_faults(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-rules", []):
        if "within" in rule:
            value, allowed = _at(document, rule["value"]), _at(document, rule["within"])
            if is_sequence(allowed):
                inside, described = value in allowed, f"one of {', '.join(map(str, allowed))}"
            else:
                low, high = allowed["low"], allowed["high"]
                inside, described = low <= value <= high, f"{low:g} to {high:g}"
            if not inside:
                yield f"{rule['value']}: {value:g} is outside {rule['within']} ({described})"
        else:
            low, high = _at(document, rule["low"]), _at(document, rule["below"])
            if not low < high:
                section, _, name = rule["low"].rpartition(".")
                larger = rule["below"].rpartition(".")[2]
                yield f"{section}: {name} ({low:g}) must be less than {larger} ({high:g})"


def _at(document: Any, path: str) -> Any:
    for key in path.split("."):
        if not is_mapping(document):
            return None
        document = document.get(key)
    return document


def for_source(value: Any, source: str, known: list[str]) -> Any:
    """Return parameters with the values for one source in place of the maps that have a value for each.

    Args:
        value: The parameters, or a part of them.
        source: The source of the data, one of `known`.
        known: All sources.

    """
    if _by_source(value, known):
        return value[source]
    if is_mapping(value):
        return {key: for_source(item, source, known) for key, item in value.items()}
    return value


def _by_source(value: Any, known: list[str]) -> bool:
    return is_mapping(value) and bool(known) and set(value) == set(known)


def _plain(value: Any) -> Any:
    if is_mapping(value):
        return {str(key): _plain(item) for key, item in value.items()}
    if is_sequence(value):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _unknown(key: str, known: Iterable[str]) -> str:
    near = [name for name in known if len(name) <= _LONGEST_NAME]
    close = difflib.get_close_matches(key[:_LONGEST_NAME], near, n=1)
    return f"unknown, did you mean {close[0]}?" if close else "unknown"


def _short(value: object) -> str:
    text = " ".join((value if isinstance(value, str) and " " in value else repr(value)).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
