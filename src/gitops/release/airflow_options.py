"""The options of Airflow, its providers and OpenTelemetry, by the names of their environment variables.

`gitops check` also runs where Airflow is not installed, and must decide the same there. So the file
`airflow_options.json` beside this module lists the options of the locked versions. `make airflow-options`
writes it. Only for an option that is not in it, the installed versions are asked.
"""

import ast
import configparser
import difflib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gitops.errors import ParseError
from gitops.text import parse

FILE = Path(__file__).with_suffix(".json")
OPEN_SECTIONS = (
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__",
    "AIRFLOW__CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS__",
    "AIRFLOW__SENTRY__",
)
"""Sections that Airflow hands over whole to another library, which has more options than Airflow lists."""

_SYNTAX = {
    "boolean": (r"(?i:true|false|t|f|1|0)", "True or False"),
    "integer": (r"[+-]?[0-9]{1,18}", "a whole number"),
    "float": (r"[+-]?([0-9]{1,18}\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", "a number"),
}
_READ = re.compile(r'\bconf\.get(boolean|int|float|json|)\(\s*(?:section=)?"([\w.]+)",\s*(?:key=)?"(\w+)"')
_LOGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s@]*:[^/\s@]+@")
_CONNECTION = "AIRFLOW_CONN_"
_PRIVATE = re.compile(rf"{_CONNECTION}|OTEL_\w+_HEADERS$")
# In the JSON of a backend's arguments. Other endings name the place of a secret, such as token_path.
_SECRET = re.compile(r"(?i)(passw(or)?d|passphrase|secret(_id)?|token|(api|access|private)_?key)$")


@dataclass(frozen=True)
class Options:
    """Known options.

    Attributes:
        airflow: The version of Airflow.
        types: Each option's type: boolean, float, integer, json or string.
        secrets: Options that hold a secret, which `<option>_CMD` and `<option>_SECRET` can look up.
        renamed: The present names of options that earlier versions of Airflow had.

    """

    airflow: str
    types: Mapping[str, str]
    secrets: frozenset[str]
    renamed: Mapping[str, str]


@cache
def locked() -> Options:
    """Return the options of the locked versions."""
    content = json.loads(FILE.read_bytes())
    return Options(**content | {"secrets": frozenset(content["secrets"])})


@cache
def installed() -> Options | None:
    """Return the options of the installed versions, or None where Airflow is not installed.

    Their own configuration files are read. Airflow itself takes seconds to import, so it is not imported.
    """
    spec = importlib.util.find_spec("airflow")
    if spec is None or not spec.origin:
        return None
    root = Path(spec.origin).parent
    core = yaml.load((root / "config_templates/config.yml").read_bytes(), Loader=yaml.CSafeLoader)
    further = configparser.RawConfigParser()  # Of providers, without types.
    further.read(root / "config_templates/provider_config_fallback_defaults.cfg")
    types = dict.fromkeys(_telemetry(), "string") | _read_in_code(root)
    secrets: set[str] = set()
    for section, key, option in _described([_untyped(further), core, *_providers()]):
        name = _variable(section, key)
        if types.get(name, "string") == "string":
            types[name] = _type(key, option)
        if option.get("sensitive"):
            secrets.add(name)
    return Options(
        importlib.metadata.version("apache-airflow"),
        dict(sorted(types.items())),
        frozenset(secrets),
        _renamed(root, types),
    )


def looked_up(key: str) -> set[str]:
    """Return the option, at most one, of the secret that a variable names or has a command for."""
    return {re.sub("_(CMD|SECRET)$", "", key)} & locked().secrets - {key}


def fault(key: str, value: str, others: Iterable[str] = ()) -> tuple[str, str] | None:
    """Return fault and remedy where `key=value` may not be in a file in git that Airflow reads.

    Args:
        key: The name of an environment variable.
        value: Its value.
        others: Further names that somebody may have meant.

    """
    options = locked()
    if key not in options.types:
        options = installed() or options
    if key in options.renamed:
        return "Airflow renamed it", f"write {options.renamed[key]}"
    if looked_up(key):
        return None if value else ("empty", "name the secret, or write the command that prints it")
    kind = options.types.get(key, "string" if key.startswith((*OPEN_SECTIONS, _CONNECTION)) else None)
    if kind is None:
        return _unknown(key, [*others, *options.types], options.airflow)
    if kind == "json" and value:
        try:
            secret = _has_secret(parse.json_value(value.encode(), parse.SETTING))
        except ParseError as error:
            return f"JSON: {error}", "write JSON on one line"
    else:
        secret = bool((value and key in options.secrets) or _LOGIN.search(value) or _PRIVATE.match(key))
    if secret:
        place = "put it into .env or a Kubernetes Secret"
        lookup = f", or write {key}_SECRET=<its name in the secrets backend>"
        return "a secret, and this file is in git", place + lookup if key in options.secrets else place
    pattern, right = _SYNTAX.get(kind, ("(?s:.*)", ""))
    return None if re.fullmatch(pattern, value) else ("not a value that Airflow can read", f"write {right}")


def _unknown(key: str, names: list[str], airflow: str) -> tuple[str, str]:
    option = key.rpartition("__")[1:]
    elsewhere = [name for name in names if option[0] and name.endswith("".join(option))]
    close = difflib.get_close_matches(key, elsewhere or names, n=1, cutoff=0 if elsewhere else 0.7)
    hint = f"did you mean {close[0]}?" if close else "take it out"
    if not key.startswith("AIRFLOW__"):
        return "unknown", hint
    return (
        f"unknown to Airflow {airflow} and its providers here",
        f"{hint} For an option of another provider, add that to pyproject.toml, then run "
        "make lock setup airflow-options",
    )


def _has_secret(value: object) -> bool:
    if parse.is_mapping(value):
        return any(
            _has_secret(inner) or (isinstance(inner, str) and inner and _SECRET.search(str(key)))
            for key, inner in value.items()
        )
    return any(map(_has_secret, value)) if parse.is_sequence(value) else bool(_LOGIN.search(str(value)))


def write() -> None:
    """Write the options of the installed versions to `airflow_options.json`."""
    options = installed()
    if options is None:
        raise SystemExit("Airflow is not installed; run make setup")
    content = asdict(options) | {"secrets": sorted(options.secrets)}
    FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _variable(section: str, key: str) -> str:
    return f"AIRFLOW__{section.replace('.', '_').upper()}__{key.upper()}"


def _described(configurations: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for configuration in configurations:
        for section, content in configuration.items():
            for key, option in content["options"].items():
                if key.isidentifier():  # Others have no variable that a settings.env can set.
                    yield section, key, option


def _untyped(defaults: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    def described(key: str, default: str) -> dict[str, Any]:
        return {"type": "string", "default": default, "sensitive": key == "password"}

    return {
        section: {"options": {key: described(key, default) for key, default in options.items()}}
        for section, options in defaults.items()
    }


def _providers() -> Iterator[dict[str, Any]]:
    """Yield the configuration of each provider: its description is the literal that a function returns."""
    for entry in importlib.metadata.entry_points(group="apache_airflow_provider"):
        file = Path(str(entry.dist and entry.dist.locate_file(f"{entry.module.replace('.', '/')}.py")))
        for node in ast.walk(ast.parse(file.read_bytes())) if file.is_file() else ():
            if isinstance(node, ast.Return) and node.value:
                yield ast.literal_eval(node.value).get("config") or {}


def _type(key: str, option: Mapping[str, Any]) -> str:
    """Return the type of an option. Airflow documents some as strings that it reads as booleans or JSON."""
    if option["type"] != "string":
        return str(option["type"])
    if option.get("default") in ("True", "False"):
        return "boolean"
    texts = [str(option.get(name)).replace("{{", "{").replace("}}", "}") for name in ("default", "example")]
    return "json" if key.endswith("_kwargs") or any(map(_is_json, texts)) else "string"


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def _telemetry() -> list[str]:
    """Return the variables of OpenTelemetry, which Airflow's own options for its exporters gave way to."""
    names: list[object] = []
    for package in ("opentelemetry", "opentelemetry.sdk"):
        spec = importlib.util.find_spec(f"{package}.environment_variables")
        if spec is None or not spec.origin:
            continue
        assigned = [
            node.value
            for node in ast.walk(ast.parse(Path(spec.origin).read_bytes()))
            if isinstance(node, ast.Assign)
        ]
        names += [value.value for value in assigned if isinstance(value, ast.Constant)]
    return [name for name in names if isinstance(name, str) and name.startswith("OTEL_")]


def _read_in_code(root: Path) -> dict[str, str]:
    """Return the types by which Airflow and its providers read options, documented or not."""
    kinds = {"boolean": "boolean", "int": "integer", "float": "float", "json": "json", "": "string"}
    reads = [read for file in root.rglob("*.py") for read in _READ.findall(file.read_text("utf-8"))]
    return {_variable(section, key): kinds[kind] for kind, section, key in sorted(reads)}


def _renamed(root: Path, types: Mapping[str, str]) -> dict[str, str]:
    tree = ast.parse((root / "_shared/configuration/parser.py").read_bytes())
    [table] = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "deprecated_options" and node.value
    ]
    pairs = ((_variable(*old[:2]), _variable(*new)) for new, old in ast.literal_eval(table).items())
    return {old: new for old, new in sorted(pairs) if new in types and old not in types}


if __name__ == "__main__":
    write()
