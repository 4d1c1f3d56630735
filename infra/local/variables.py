"""The environment variables of an environment's processes, from its settings and from this machine."""

import hashlib
import hmac
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

import dashboard
import dashboard.processes
import gitops
import serving
from gitops.release import keys, runtimes, settings, signatures
from infra.airflow import clean
from infra.local.database import SETTING as DATABASE_SETTING
from infra.local.errors import EngineError
from infra.local.layout import Layout
from infra.local.secret import Secrets

# Variables of the user's shell for other Airflows, DVCs or Pythons are not passed on.
_FOREIGN = (
    "AIRFLOW",
    "_AIRFLOW",
    "DVC_",
    "GIT_",
    "GITOPS_",
    "OPENLINEAGE",
    "VISAGE_",
    "PYTHON",
    "VIRTUAL_ENV",
)
_REPORTED = ("AIRFLOW", "DVC_")
_SAME_HERE = ("DVC_NO_ANALYTICS",)
_FROM_SHELL = ("CELEBA_DIR",)
_LOOPBACK = ("localhost", "127.0.0.1", "::1", ".localhost")

_PORT = re.compile(r"VISAGE_[A-Z0-9_]+_PORT")

CHOSEN = "VISAGE_ENVIRONMENTS"
"""Setting: the environments that make up starts, separated by commas."""

BACKUPS = "VISAGE_BACKUPS"
"""Setting: the folder of the weekly backups. Without it, there are none."""

USERNAME = "airflow"
PRIVATE_LOGS = {
    "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
    "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
}
"""Airflow sets the file modes of task logs itself, regardless of the umask."""
ASSETS = Path(__file__).parent / "airflow"
_LOCK = Path(__file__).parents[2] / "requirements.lock"


@dataclass(frozen=True)
class Address:
    """The address of an environment's web interface."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The URL for programs on this machine. Not every system resolves names under localhost."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def serving(self) -> int:
        """The port of the online service. It follows the one of the web interface, which may be chosen."""
        return self.port + 100

    @property
    def web(self) -> str:
        """The URL for browsers."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class UserConfig:
    """The user's configuration on this machine: variables of the shell and of the git-ignored `.env`."""

    shell: Mapping[str, str]
    file: Mapping[str, str]

    @classmethod
    def read(cls, checkout: Path, shell: Mapping[str, str]) -> "UserConfig":
        """Read `.env` of the checkout, if it exists.

        Raises:
            EngineError: A line of `.env` has no value.

        """
        path = checkout / ".env"
        values = dotenv_values(path, interpolate=False) if path.is_file() else {}
        for key, value in values.items():
            if value is None:
                raise EngineError(f"{path}: {key}: no value; write {key}=value")
        return cls(dict(shell), {key: value for key, value in values.items() if value is not None})

    @property
    def engine(self) -> dict[str, str]:
        """The settings of the engine: environments, ports and database."""
        both = {**self.file, **self.shell}
        return {key: value for key, value in both.items() if _is_engine_setting(key)}

    @property
    def ignored(self) -> list[str]:
        """Variables of the shell that are not passed to the environments."""
        return sorted(key for key in self.shell if key.startswith(_REPORTED) and key not in _SAME_HERE)


def derive(
    layout: Layout,
    environment: str,
    user_config: UserConfig,
    address: Address,
    secrets: Secrets,
    database_url: str,
) -> dict[str, str]:
    """Return the variables of an environment: from `.env`, its settings, and the engine.

    Raises:
        EngineError: `.env` sets a variable that the settings of the environment set too.
        SettingsError: The settings are not valid.

    """
    paths = layout.paths_of(environment)
    variables = {key: value for key, value in user_config.file.items() if not _is_engine_setting(key)}
    declared = settings.load(environment, layout.checkout).variables
    if both := sorted(variables.keys() & declared.keys()):
        raise EngineError(
            f"{layout.checkout / '.env'}: {both[0]}: {settings.path_of(environment)} sets it; change it there"
        )
    return {
        # Defaults of this engine. settings.env or .env may override them.
        "AIRFLOW__API__BASE_URL": address.web,
        **PRIVATE_LOGS,
        # After how many seconds a task starts again if its scheduler was killed
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        # Days after which records of runs and logs are deleted, as on the other engines
        "KEEP_RUN_DAYS": "180",
        "KEEP_LOG_DAYS": "30",
        # Events of OpenLineage lie beside the logs, and are deleted with them
        "OPENLINEAGE__TRANSPORT__TYPE": "file",
        "OPENLINEAGE__TRANSPORT__LOG_FILE_PATH": str(paths.airflow / "logs/lineage"),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": environment,
        "AIRFLOW__OPENLINEAGE__DISABLE_SOURCE_CODE": "True",
        **variables,
        **{key: user_config.shell[key] for key in _FROM_SHELL if key in user_config.shell},
        **declared,
        "WEB_PORT": str(address.port),
        "SERVING_PORT": str(address.serving),
        "VISAGE_HOME": str(paths.data),
        keys.VARIABLE: str(paths.verifier_key),
        signatures.TRUST_ROOT: str(layout.trust_root),
        runtimes.VARIABLE: runtimes.name_of_lock(_LOCK.read_bytes()),
        # Code of a release sees nothing of this checkout: `.env`, passwords, the data of other environments
        "VISAGE_PRIVATE": str(layout.checkout),
        "AIRFLOW_HOME": str(paths.airflow),
        dashboard.processes.FOLDER: str(layout.records),
        "AIRFLOW_CONN_FS_DEFAULT": json.dumps({"conn_type": "fs"}),
        "AIRFLOW_CONN_GIT_DEFAULT": json.dumps({"conn_type": "git", "host": str(layout.origin)}),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(address.port),
        "AIRFLOW__API__SECRET_KEY": secrets.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.jwt_secret,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address.url}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": secrets.fernet_key,
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow_local_settings.hostname",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(paths.passwords),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(paths.bundles),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "DVC_GLOBAL_CONFIG_DIR": str(layout.dvc_config),
        "DVC_SITE_CACHE_DIR": str(layout.dvc_site_cache),
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
        # Without it, the process titles of Airflow overwrite the marks in the environment variables.
        "SPT_NOENV": "1",
        "PYTHONUNBUFFERED": "1",
        # Without it, macOS kills forked processes that use system libraries.
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
    }


def inherit(shell: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the user's shell that a process of the engine inherits."""
    kept = {key: value for key, value in shell.items() if not key.startswith(_FOREIGN)}
    programs = str(Path(sys.prefix) / "bin")
    kept["PATH"] = os.pathsep.join([programs, kept.get("PATH", os.defpath)])
    direct = [*filter(None, kept.get("NO_PROXY", kept.get("no_proxy", "")).split(",")), *_LOOPBACK]
    kept["NO_PROXY"] = kept["no_proxy"] = ",".join(dict.fromkeys(direct))
    return kept


def fingerprints(variables: Mapping[str, str], key: str) -> dict[str, str]:
    """Return a digest of each variable, and of the code that Airflow loads only at its start.

    Args:
        variables: The variables, including secrets.
        key: The key of the digests. Without it, nobody can guess a weak secret from its digest.

    """
    digests = {
        name: hmac.new(key.encode(), f"{name}={value}".encode(), hashlib.sha256).hexdigest()[:16]
        for name, value in variables.items()
    }
    digests["the package gitops"] = _digest(Path(str(gitops.__file__)).parent.rglob("*.py"))
    page = Path(str(dashboard.__file__)).parent
    digests["the package dashboard"] = _digest([*page.rglob("*.py"), *page.rglob("*.html")])
    digests["the package serving"] = _digest(Path(str(serving.__file__)).parent.rglob("*.py"))
    digests["infra/airflow/clean.py"] = _digest([Path(clean.__file__)])
    digests["infra/local/airflow"] = _digest(ASSETS.rglob("*.py"))
    digests["Airflow"] = importlib.metadata.version("apache-airflow")
    return digests


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """Return the names of changed variables. A variable of the shell that is no longer set is unchanged."""
    return sorted(
        key
        for key in now.keys() | before.keys()
        if now.get(key) != before.get(key) and not (key in _FROM_SHELL and key not in now)
    )


def _is_engine_setting(key: str) -> bool:
    return key in (CHOSEN, BACKUPS) or key.startswith(DATABASE_SETTING) or bool(_PORT.fullmatch(key))


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
