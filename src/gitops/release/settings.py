"""How an environment runs: `environments/<env>/settings.env`.

The file holds settings of Visage, which `Settings` lists, and options of Airflow, its providers and
OpenTelemetry, which `airflow_options` lists. Airflow's processes, Docker Compose, Kustomize and this package
read it, and they disagree about quotes, `$` and comments behind a value. So the file may have none of these.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from gitops.errors import ParseError, SettingsError
from gitops.release import airflow_options, environments
from gitops.release.licences import Use
from gitops.text import parse as parser

_KEY = re.compile(r"[A-Z][A-Z0-9_]*")
_LARGEST = 65_536


_BUNDLES = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
# The second is the name that settings had before; both are the same class.
_BUNDLE_CLASSES = ("gitops.airflow.bundle.ReleaseBundle", "gitops.bundle.ReleaseBundle")
_EXAMPLES = "AIRFLOW__CORE__LOAD_EXAMPLES"

_RELEASE = "DAGs come from the release alone"
_ENGINE = "the engine sets it, to fit its ports, volumes, pods and keys"
REFUSED = {
    "AIRFLOW__CORE__DAGS_FOLDER": (_RELEASE, "take it out"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": ("its code is of no release and no image", "install it into the image"),
    "AIRFLOW__API__PORT": (_ENGINE, "write WEB_PORT"),
    **dict.fromkeys(
        ("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "AIRFLOW__FAB__AUTH_ROLE_PUBLIC"),
        ("everybody could use the web interface without a login", "take it out"),
    ),
    **dict.fromkeys(
        (
            "AIRFLOW__API__HOST",
            "AIRFLOW__API__SECRET_KEY",
            "AIRFLOW__API_AUTH__JWT_SECRET",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
            "AIRFLOW__CORE__FERNET_KEY",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
            "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE",
            "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE",
            "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY",
            "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG",
        ),
        (_ENGINE, "take it out"),
    ),
}
"""Options that would make Airflow run something other than the release, or break its engine."""


class TaskSize(BaseModel):
    """The size of a task: its request and its limit. The engine decides a missing value."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    cpu: float | None = Field(None, gt=0, le=256)
    memory: str | None = Field(None, pattern=r"^[1-9]\d{0,5}(Mi|Gi)$")
    disk: str | None = Field(None, pattern=r"^[1-9]\d{0,5}(Mi|Gi)$")
    gpu: int = Field(0, ge=0, le=16)
    queue: str | None = Field(None, pattern=r"^[a-z0-9-]{1,50}$")
    hours: float | None = Field(None, gt=0, le=168)


class Settings(BaseModel):
    """The settings of one environment, by their names in lower case.

    A line here is a setting: its type, its bounds, and the value in a process that was started without it.
    Every `settings.env` sets all of them.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        alias_generator=str.upper,
        validate_by_name=False,
        hide_input_in_errors=True,
    )

    visage_environment: str = ""
    web_host: str = Field("localhost", pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    web_port: int = Field(8080, ge=1, le=65535)
    default_password: str = ""
    active_dags: tuple[str, ...] = ()
    notify_email: tuple[str, ...] = ()
    task_retries: int = Field(2, ge=0, le=10)
    task_retry_seconds: float = Field(30, gt=0, le=86_400)
    accuracy_threshold: float = Field(0.85, ge=0, le=1)
    min_balanced_accuracy: float = Field(0.5, ge=0, lt=1)
    min_recall: float = Field(0, ge=0, lt=1)
    max_performance_loss: float = Field(0.02, ge=0, lt=1)
    max_mean_loss: float = Field(0.003, ge=0, lt=1)
    max_attribute_loss: float = Field(0.03, ge=0, lt=1)
    max_balanced_loss: float = Field(0.05, ge=0, lt=1)
    max_gap_rise: float = Field(0.1, ge=0, le=1)
    max_tpr_gap: float = Field(0.8, ge=0, le=1)
    max_contradictions: float = Field(0.05, ge=0, le=1)
    max_slice_loss: float = Field(0.01, ge=0, lt=1)
    require_power: bool = False
    anchor_release: str = Field("", pattern=r"^([0-9a-f]{40})?$")
    max_latency_ratio: float = Field(2, gt=0, le=1000)
    max_latency_ms: float = Field(20, gt=0, le=1_000_000)
    max_size_ratio: float = Field(5, gt=0, le=1000)
    max_model_bytes: int = Field(20_000_000, ge=1, le=10**12)
    min_soak_hours: float = Field(0, ge=0, le=8760)
    health_minutes: float = Field(0, ge=0, le=1440)
    reverify_hours: float = Field(0, ge=0, le=8760)
    require_signed_releases: bool = False
    require_signed_models: bool = False
    use: Use = "research"
    require_shadow_images: int = Field(0, ge=0, le=1_000_000_000)
    canary_images: int = Field(1000, ge=1, le=1_000_000_000)
    serving_port: int = Field(8180, ge=1, le=65535)
    serving_budget_ms: float = Field(100, gt=0, le=60_000)
    serving_queue: int = Field(256, ge=1, le=100_000)
    serving_rate: float = Field(100, gt=0, le=1_000_000)
    serving_sample: float = Field(0, ge=0, le=1)
    serving_keep_days: int = Field(0, ge=0, le=3650)
    serving_fetch_hosts: tuple[str, ...] = ()
    retention_days_scored: int = Field(0, ge=0, le=36_500)
    retention_days_quarantine: int = Field(0, ge=0, le=36_500)
    retention_days_scores: int = Field(0, ge=0, le=36_500)
    retention_days_labels: int = Field(0, ge=0, le=36_500)
    retention_days_labelled: int = Field(0, ge=0, le=36_500)
    retention_days_runs: int = Field(0, ge=0, le=36_500)
    retention_days_reports: int = Field(0, ge=0, le=36_500)
    retention_days_objects: int = Field(0, ge=0, le=36_500)
    retention_days_candidates: int = Field(90, ge=0, le=36_500)
    retention_runs: int = Field(20, ge=1, le=10_000)
    retention_releases: int = Field(0, ge=0, le=10_000)
    task_sizes: dict[str, TaskSize] = {}
    scoring_part_images: int = Field(20_000, ge=1, le=10_000_000)

    _variables: dict[str, str] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Mapping[str, str] | None, /) -> None:
        self._variables.update(context or {})

    @property
    def variables(self) -> dict[str, str]:
        """All settings, Airflow's options among them, as variables of a process."""
        return dict(self._variables)

    @classmethod
    def from_file(cls, content: bytes, environment: str, *, name: str | None = None) -> Self:
        """Read the `settings.env` of an environment.

        Args:
            content: The file.
            environment: The environment that it belongs to.
            name: The file's name in errors.

        Raises:
            SettingsError: with file, line and remedy, where it may not be used.

        """
        name = name or path_of(environment)
        lines = parse_lines(content, name)
        where = {key: f"{name}:{number}" for key, (number, _) in lines.items()}
        variables = {key: value for key, (_, value) in lines.items()}
        for key, value in variables.items():
            if key not in NAMES and (fault := _refusal(key, value)):
                raise SettingsError(where[key], f"{key}: {fault[0]}", fault[1])
        needed = (*NAMES, _BUNDLES, _EXAMPLES)
        if missing := [key for key in needed if key not in lines and key not in _OPTIONAL]:
            raise SettingsError(name, f"{', '.join(missing)}: missing", "every environment sets this")
        settings = cls._read({key: variables[key] for key in NAMES if key in variables}, where, variables)
        if settings.visage_environment != environment:
            raise SettingsError(
                where["VISAGE_ENVIRONMENT"],
                f"VISAGE_ENVIRONMENT: {settings.visage_environment[:40]!r} in the folder of {environment}",
                f"write {environment}",
            )
        if not _one_release_bundle(variables[_BUNDLES], environment):
            raise SettingsError(
                where[_BUNDLES],
                f"{_BUNDLES}: {_RELEASE}",
                f'write [{{"name":"release","classpath":"{_BUNDLE_CLASSES[0]}","kwargs":{{"environment":'
                f'"{environment}","refresh_interval":10}}}}], with seconds from 1 to 3600',
            )
        return settings

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings that a process was started with.

        Raises:
            SettingsError: where one has a value that it may not have.

        """
        values = {key: environ[key] for key in NAMES if key in environ}
        source = "the environment of the process"
        if name := values.get("VISAGE_ENVIRONMENT"):
            source = path_of(name)
        return cls._read(values, dict.fromkeys(values, source))

    @classmethod
    def _read(
        cls,
        values: Mapping[str, str],
        where: Mapping[str, str],
        variables: Mapping[str, str] | None = None,
    ) -> Self:
        try:
            return cls.model_validate(values, context=variables)
        except ValidationError as error:
            first = error.errors()[0]
            key, message = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
            part = "".join(f"{name}: " for name in first["loc"][1:])
            raise SettingsError(where[key], f"{key}: {part}{message}") from error

    def value(self, name: str) -> str | float | list[str]:
        """Return the value of a setting of Visage.

        Raises:
            SettingsError: where there is no setting of this name.

        """
        if name not in NAMES:
            raise SettingsError(name, "not a setting of Visage", f"those are {', '.join(NAMES)}")
        value: str | float | tuple[str, ...] | dict[str, TaskSize] = getattr(self, name.lower())
        if isinstance(value, dict):
            return self._variables.get(name, "")
        return list(value) if isinstance(value, tuple) else value

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

    @field_validator("serving_fetch_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: str) -> tuple[str, ...]:
        hosts = tuple(value.split(",")) if value else ()
        if any(not re.fullmatch(r"([a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,62}", host) for host in hosts):
            raise ValueError("names of hosts in small letters, with commas and no spaces between")
        return hosts

    @field_validator("task_sizes", mode="before")
    @classmethod
    def _read_table(cls, value: str) -> object:
        try:
            table = parser.json_value(value.encode(), parser.SETTING)
        except ParseError as error:
            raise ValueError(f"not JSON: {error}") from error
        if not isinstance(table, Mapping):
            raise ValueError('write {"TASK":{"cpu":4,"memory":"6Gi","disk":"40Gi","hours":6}}')
        return cast("Mapping[str, object]", table)

    @field_validator("require_signed_releases", "require_signed_models", "require_power", mode="before")
    @classmethod
    def _lower_case_boolean(cls, value: str) -> bool:
        if value not in ("true", "false"):
            raise ValueError("true or false")
        return value == "true"


NAMES = tuple(field.upper() for field in Settings.model_fields)
"""The settings of Visage."""

# Settings that did not exist when some environments were made.
_OPTIONAL = (
    *("TASK_SIZES", "SCORING_PART_IMAGES"),
    *("MAX_BALANCED_LOSS", "MAX_GAP_RISE", "MAX_TPR_GAP", "MAX_CONTRADICTIONS"),
    *("USE", "REQUIRE_SIGNED_MODELS", "HEALTH_MINUTES", "REQUIRE_SHADOW_IMAGES", "CANARY_IMAGES"),
    *("REVERIFY_HOURS", "SERVING_FETCH_HOSTS"),
    *(name for name in NAMES if name.startswith("RETENTION_")),
)


def _refusal(key: str, value: str) -> tuple[str, str] | None:
    """Return fault and remedy where a variable that is no setting of Visage may not be in the file."""
    if key == _EXAMPLES and value.lower() not in ("false", "f", "0"):
        return _RELEASE, "write False"
    for name in (key, *airflow_options.looked_up(key)):
        if name in REFUSED:
            return REFUSED[name]
    return airflow_options.fault(key, value, NAMES)


def _one_release_bundle(value: str, environment: str) -> bool:
    bundles = parser.sequence(parser.json_value(value.encode(), parser.SETTING))
    kwargs = parser.mapping(parser.mapping(bundles[0]).get("kwargs")) if len(bundles) == 1 else {}
    interval = kwargs.get("refresh_interval")
    right = [
        {
            "name": "release",
            "classpath": classpath,
            "kwargs": {"environment": environment, "refresh_interval": interval},
        }
        for classpath in _BUNDLE_CLASSES
    ]
    return bundles in ([bundle] for bundle in right) and type(interval) is int and 1 <= interval <= 3600


def path_of(environment: str) -> str:
    """Return the path of an environment's settings in the repository."""
    return f"{environments.FOLDER}/{environment}/settings.env"


def parse_lines(content: bytes, name: str) -> dict[str, tuple[int, str]]:
    """Read flat `KEY=value` lines: key -> (line number, value).

    Raises:
        SettingsError: with file and line, for a line that one of the readers would read differently.

    """
    if len(content) > _LARGEST:
        raise SettingsError(name, f"larger than {_LARGEST:,} bytes", "remove everything but the settings")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(name, "not UTF-8 text", "save the file as UTF-8") from error
    if text.startswith("\ufeff"):
        raise SettingsError(f"{name}:1", "a byte-order mark", "save the file as plain UTF-8")
    variables: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{name}:{number}"
        if line == "" or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise SettingsError(where, f"{line[:40]!r} is not KEY=value", "comments start with # in column 1")
        if not _KEY.fullmatch(key):
            raise SettingsError(where, f"{key[:40]!r} is no key", "use capitals, digits and _ with no space")
        if key in variables:
            raise SettingsError(where, f"{key} is there twice, first in line {variables[key][0]}", "keep one")
        if fault := _fault(value):
            raise SettingsError(where, f"{key}: {fault[0]}", fault[1])
        variables[key] = (number, value)
    return variables


def load(environment: str, root: Path = Path()) -> Settings:
    """Read an environment's settings from the working tree at `root`.

    Raises:
        SettingsError: when there are none, or when they may not be used.
        EnvironmentsError: when the name cannot be one of an environment.

    """
    environments.check_name(environment)
    file = root / path_of(environment)
    if (root / environments.FOLDER).is_dir() and not file.parent.is_dir():
        there = ", ".join(environments.Environments.from_folder(root))
        raise SettingsError(environment, f"no such environment in {root.resolve()}", f"there are {there}")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SettingsError(
            str(file), str(error.strerror), "run this in a checkout of the repository"
        ) from error
    return Settings.from_file(content, environment, name=str(file))


def _fault(value: str) -> tuple[str, str] | None:
    if value.endswith("\r"):
        return "a Windows line end", "save the file with the line ends of Unix (git add --renormalize .)"
    if value != value.strip():
        return "space around the value", "take it out"
    if value.startswith(("'", '"', "`")):
        return "quotes around the value would be part of it for some readers", "take them out"
    if re.search(r"(^|\s)#", value):
        return "a # after a space starts a comment for some readers", "put comments on lines of their own"
    if "$" in value or "\\" in value:
        return "$ and \\ mean something to some readers", "write the value out"
    if not value.isprintable():
        return "a character that cannot be printed (a tab?)", "take it out"
    return None
