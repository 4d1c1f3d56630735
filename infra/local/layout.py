"""The files of the engine. All of them are below `.visage` of the checkout."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class EnvironmentPaths:
    """The folders and files of one environment."""

    root: Path

    @property
    def environment(self) -> str:
        return self.root.name

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME: Airflow's configuration and the logs of its tasks."""
        return self.root / "airflow"

    @property
    def data(self) -> Path:
        """VISAGE_HOME: the files that the DAGs read and write."""
        return self.root / "data"

    @property
    def bundles(self) -> Path:
        """The folder in which Airflow checks out releases."""
        return self.root / "bundles"

    @property
    def logs(self) -> Path:
        """The output of each process."""
        return self.root / "logs"

    @property
    def cleaned(self) -> Path:
        """The file that is touched after each complete clean-up."""
        return self.airflow / "cleaned"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    @property
    def verifier_key(self) -> Path:
        """The private key with which the environment signs its verdicts."""
        return self.root / "verifier_key"

    @property
    def passwords(self) -> Path:
        """The file that Airflow's SimpleAuthManager reads."""
        return self.root / "passwords.json"

    @property
    def started_with(self) -> Path:
        """Fingerprints of the variables that the running processes were started with."""
        return self.root / "started-with.json"

    @property
    def schema(self) -> Path:
        """The revision of Airflow's tables in the database."""
        return self.root / "schema.json"


@dataclass(frozen=True)
class Layout:
    """The paths of a checkout."""

    checkout: Path

    @property
    def state(self) -> Path:
        return self.checkout / ".visage"

    @property
    def origin(self) -> Path:
        """The bare git repository that stands in for GitHub."""
        return self.state / "origin.git"

    @property
    def trust_root(self) -> Path:
        """The commit of main from which on changes of the lists of keys must be signed."""
        return self.state / "trust-root"

    @property
    def dvc_remote(self) -> Path:
        return self.state / "dvc-remote"

    @property
    def dvc_cache(self) -> Path:
        return self.state / "dvc-cache"

    @property
    def dvc_config(self) -> Path:
        """DVC_GLOBAL_CONFIG_DIR: the configuration of remote and cache."""
        return self.state / "dvc-config"

    @property
    def dvc_site_cache(self) -> Path:
        return self.state / "dvc-site-cache"

    @property
    def database(self) -> Path:
        return self.state / "database"

    @property
    def records(self) -> Path:
        """The folder with one file per running process."""
        return self.state / "processes"

    @property
    def logs(self) -> Path:
        """The output of processes that belong to no environment."""
        return self.state / "logs"

    @property
    def access(self) -> Path:
        """Addresses and passwords of the Airflows, for the programs of the checkout's owner."""
        return self.state / "access.json"

    @property
    def drill(self) -> Path:
        """The report of the last drill."""
        return self.state / "drill.json"

    @property
    def weekly(self) -> Path:
        """The report of the last weekly backup and its drill."""
        return self.state / "weekly.json"

    @property
    def previews(self) -> Path:
        """The folder with a folder for each preview of a branch."""
        return self.state / "previews"

    @property
    def ports(self) -> Path:
        return self.state / "ports.json"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    def paths_of(self, environment: str) -> EnvironmentPaths:
        return EnvironmentPaths(self.state / environment)
