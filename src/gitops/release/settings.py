"""How an environment runs: `environments/<env>/settings.env`.

The one file is read by Airflow's processes, Docker Compose, Kustomize and this package, which disagree about
quotes, `$` and comments behind a value. So none of these is allowed, and all of them read the same.
"""

import difflib
import re
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gitops.errors import ParseError, SettingsError
from gitops.release.file import ENVIRONMENTS
from gitops.text import parse as parser

_KEY = re.compile(r"[A-Z][A-Z0-9_]*")
_LARGEST = 65_536


# The second is the name that settings had before; both are the same class.
_BUNDLE_CLASSES = ("gitops.airflow.bundle.ReleaseBundle", "gitops.bundle.ReleaseBundle")


class Settings(BaseModel):
    """The settings of one environment, by their names in lower case."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=str.upper,
        validate_by_name=False,
        hide_input_in_errors=True,
    )

    visage_environment: str
    web_host: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    web_port: int = Field(ge=1, le=65535)
    default_password: str
    active_dags: tuple[str, ...]
    notify_email: tuple[str, ...]
    task_retries: int = Field(ge=1, le=10)
    task_retry_seconds: float = Field(gt=0, le=86_400)
    accuracy_threshold: float = Field(ge=0, le=1)
    max_performance_loss: float = Field(ge=0, lt=1)
    max_mean_loss: float = Field(ge=0, lt=1)
    max_attribute_loss: float = Field(ge=0, lt=1)
    max_slice_loss: float = Field(ge=0, lt=1)
    max_latency_ratio: float = Field(gt=0, le=1000)
    max_latency_ms: float = Field(gt=0, le=1_000_000)
    max_size_ratio: float = Field(gt=0, le=1000)
    max_model_bytes: int = Field(ge=1, le=10**12)
    min_soak_hours: float = Field(ge=0, le=8760)
    require_signed_releases: bool
    airflow__api__instance_name: str = Field(min_length=1)
    airflow__api__theme: dict[str, Any]
    airflow__api__workers: int = Field(ge=1, le=64)
    airflow__core__executor: str = Field(min_length=1)
    airflow__core__parallelism: int = Field(ge=1, le=1024)
    airflow__core__load_examples: bool
    airflow__core__dags_are_paused_at_creation: bool
    airflow__core__simple_auth_manager_users: str = Field(min_length=1)
    airflow__dag_processor__dag_bundle_config_list: list[dict[str, Any]]
    airflow__dag_processor__parsing_processes: int = Field(ge=1, le=64)
    airflow__dag_processor__min_file_process_interval: int = Field(ge=0, le=86_400)
    airflow__scheduler__scheduler_idle_sleep_time: float = Field(gt=0, le=3600)
    airflow__workers__min_heartbeat_interval: int = Field(ge=1, le=3600)

    @field_validator("active_dags", mode="before")
    @classmethod
    def _split(cls, value: str) -> tuple[str, ...]:
        names = tuple(value.split(",")) if value else ()
        if any(not re.fullmatch(r"[\w.-]+", name) for name in names) or len(set(names)) != len(names):
            raise ValueError("DAG ids, each once, with commas and no spaces between")
        return names

    @field_validator("notify_email", mode="before")
    @classmethod
    def _split_addresses(cls, value: str) -> tuple[str, ...]:
        addresses = tuple(value.split(",")) if value else ()
        if any(not re.fullmatch(r"[^@\s]+@[^@\s]+", address) for address in addresses):
            raise ValueError("e-mail addresses, with commas and no spaces between")
        return addresses

    @field_validator("airflow__api__theme", "airflow__dag_processor__dag_bundle_config_list", mode="before")
    @classmethod
    def _decode(cls, value: str) -> Any:
        try:
            return parser.json_value(value.encode(), parser.SETTING)
        except ParseError as error:
            raise ValueError(f"JSON: {error}") from error

    @field_validator(
        "airflow__core__load_examples", "airflow__core__dags_are_paused_at_creation", mode="before"
    )
    @classmethod
    def _boolean(cls, value: str) -> bool:
        if value not in ("True", "False"):
            raise ValueError("True or False")
        return value == "True"

    @field_validator("require_signed_releases", mode="before")
    @classmethod
    def _lower_case_boolean(cls, value: str) -> bool:
        if value not in ("true", "false"):
            raise ValueError("true or false")
        return value == "true"

    @model_validator(mode="after")
    def _dev_is_not_signed(self) -> Self:
        if self.visage_environment == "dev" and self.require_signed_releases:
            raise ValueError("REQUIRE_SIGNED_RELEASES: dev follows main, signed or not; write false")
        return self

    @model_validator(mode="after")
    def _one_release_bundle(self) -> Self:
        # Whatever else it could say would have Airflow run something that is not the release.
        bundles = self.airflow__dag_processor__dag_bundle_config_list
        kwargs = parser.mapping(bundles[0].get("kwargs")) if len(bundles) == 1 else {}
        interval = kwargs.get("refresh_interval")
        right = [
            {
                "name": "release",
                "classpath": classpath,
                "kwargs": {"environment": self.visage_environment, "refresh_interval": interval},
            }
            for classpath in _BUNDLE_CLASSES
        ]
        if (
            bundles not in ([bundle] for bundle in right)
            or type(interval) is not int
            or not 1 <= interval <= 3600
        ):
            raise ValueError(
                'AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST: write [{"name":"release","classpath":'
                '"gitops.airflow.bundle.ReleaseBundle","kwargs":{"environment":"'
                f'{self.visage_environment}","refresh_interval":10}}}}], with seconds from 1 to 3600'
            )
        return self


def path_of(environment: str) -> str:
    """Return the path of an environment's settings in the repository."""
    return f"environments/{environment}/settings.env"


def parse_lines(content: bytes, name: str) -> dict[str, tuple[int, str]]:
    """Read flat `KEY=value` lines: key -> (line number, value).

    :raises SettingsError: naming file and line, for anything that some reader would read otherwise.
    """
    if len(content) > _LARGEST:
        raise SettingsError(f"{name}: larger than {_LARGEST:,} bytes; take out what is not a setting")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}: not UTF-8 text") from error
    if text.startswith("\ufeff"):
        raise SettingsError(f"{name}:1: a byte-order mark; save the file as plain UTF-8")
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{name}:{number}"
        if line == "" or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise SettingsError(f"{where}: {line[:40]!r} is not KEY=value; comments start with # in column 1")
        if not _KEY.fullmatch(key):
            raise SettingsError(f"{where}: {key[:40]!r} is no key; use capitals, digits and _ with no space")
        if key in found:
            raise SettingsError(f"{where}: {key} is there twice, first in line {found[key][0]}; keep one")
        if problem := _problem(value):
            raise SettingsError(f"{where}: {key}: {problem}")
        found[key] = (number, value)
    return found


def parse(content: bytes, environment: str, *, name: str | None = None) -> Settings:
    """Read and validate an environment's settings; `name` is how errors call the file.

    :raises SettingsError: with file, line, and what would be right.
    """
    name = name or path_of(environment)
    lines = parse_lines(content, name)
    known = [field.upper() for field in Settings.model_fields]
    for key, (number, _) in lines.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "take it out"
            raise SettingsError(f"{name}:{number}: {key}: unknown, {hint}")
    if missing := [key for key in known if key not in lines]:
        raise SettingsError(f"{name}: {', '.join(missing)}: missing; every environment sets every key")
    try:
        settings = Settings.model_validate({key: value for key, (_, value) in lines.items()})
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise SettingsError(f"{name}: {message}") from error
        key = str(first["loc"][0])
        raise SettingsError(f"{name}:{lines[key][0]}: {key}: {message}") from error
    if settings.visage_environment != environment:
        raise SettingsError(
            f"{name}:{lines['VISAGE_ENVIRONMENT'][0]}: VISAGE_ENVIRONMENT: "
            f"{settings.visage_environment[:40]!r} in the folder of {environment}; write {environment}"
        )
    return settings


def load(environment: str, root: Path = Path()) -> Settings:
    """Read an environment's settings from the working tree at `root`.

    :raises SettingsError: when there are none or they are not valid.
    """
    return parse(_content(environment, root), environment, name=str(root / path_of(environment)))


def variables(environment: str, root: Path = Path()) -> dict[str, str]:
    """Read an environment's settings as process variables, once they are known to be valid."""
    content, name = _content(environment, root), str(root / path_of(environment))
    parse(content, environment, name=name)
    return {key: value for key, (_, value) in parse_lines(content, name).items()}


def _content(environment: str, root: Path) -> bytes:
    if environment not in ENVIRONMENTS:
        raise SettingsError(f"{environment}: no such environment; there are {', '.join(ENVIRONMENTS)}")
    file = root / path_of(environment)
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}; run this in a checkout of the repository") from error


def _problem(value: str) -> str | None:
    if value != value.strip():
        return "space around the value; take it out"
    if value.startswith(("'", '"', "`")):
        return "quotes around the value would be part of it for some readers; take them out"
    if re.search(r"(^|\s)#", value):
        return "a # after a space starts a comment for some readers; put comments on lines of their own"
    if "$" in value or "\\" in value:
        return "$ and \\ mean something to some readers; write the value out"
    if not value.isprintable():
        return "a character that cannot be printed (a tab, or a Windows line end?); take it out"
    return None
