"""A snapshot: the files of one commit that decisions are about, read once.

The rules, the gates, the diff and the status are functions of snapshots: none of them asks git for a file.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from gitops.dvc.lockfile import PIPELINE, Lock
from gitops.errors import EnvironmentsError, GateError, ParseError, ReleaseError, SettingsError
from gitops.findings import Finding
from gitops.git.repository import Repository
from gitops.model import evaluation, metrics
from gitops.model.evaluation import Evaluation, Export
from gitops.model.metrics import Metrics
from gitops.paths import (
    CODEOWNERS,
    CONTRACT,
    CONTRACT_SCHEMA,
    DEPENDENCIES,
    EVALUATION,
    EXPORT,
    FORGOTTEN,
    HOLDOUT,
    LOCK,
    PARAMETERS,
)
from gitops.release import calendar, contract, environments, licences, settings
from gitops.release import file as release_file
from gitops.release.calendar import Calendar
from gitops.release.environments import EARLIER, Environments
from gitops.release.file import RELEASE_PATHS, Release
from gitops.release.forgotten import Forgotten
from gitops.release.licences import Licences
from gitops.release.settings import Settings
from gitops.release.signatures import SIGNERS
from gitops.text import json_values, parse
from gitops.text.record import LARGEST

DAGS = "dags"
DVC_CONFIG = ".dvc/config"
FILES = (
    *(CODEOWNERS, DEPENDENCIES, DVC_CONFIG, FORGOTTEN, LOCK, PARAMETERS, PIPELINE, SIGNERS, contract.PATH),
    *metrics.PATHS,
)
"""The files that decisions are about, those of environments aside."""
_OF_AN_ENVIRONMENT = (environments.FILE, "release.yaml", "settings.env", "verifiers")
_MOST_FILES = 800
_FILE = rf"{environments.FOLDER}/[^/]+/{re.escape(environments.FILE)}"
_HISTORY = 200
"""How many changes of main are read to find valid environments."""


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit.

    A file that cannot be read raises the error that names the file, the problem and the remedy.

    Attributes:
        commit: The full id of the commit.
        contents: The content of each file; None for one that the commit does not have.
        identity: A digest of the parts that make it a release: equal digests, same release.
        has_dags: Whether it has a folder of DAGs.
        listed: All files and folders below `environments/`, and how many of each the tree has.

    """

    commit: str
    contents: Mapping[str, bytes | None]
    identity: str = ""
    has_dags: bool = True
    listed: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def load(cls, repository: Repository, commit: str, first: Collection[str] = ()) -> Self:
        """Read a commit, with its environments.

        Args:
            repository: The repository.
            commit: The commit.
            first: Environments whose files are read, however many folders there are.

        Raises:
            GitError: when there is no such commit.

        """
        commit = repository.resolve(commit)
        listed = Counter(repository.files(commit, environments.FOLDER, folders=True))
        paths = [path for path in listed if path.count("/") == 2 and path.endswith(_OF_AN_ENVIRONMENT)]
        paths = [path for path in paths if path.isprintable()]  # Others are no environments
        declared = {path.split("/")[1] for path in paths if path.endswith(f"/{environments.FILE}")}
        paths.sort(key=lambda path: [path.split("/")[1] not in names for names in (first, declared)])
        read = cls.load_all(
            repository,
            [commit],
            (*FILES, CONTRACT, CONTRACT_SCHEMA, calendar.PATH, licences.PATH, *paths[:_MOST_FILES]),
        )[commit]
        return cls(commit, read.contents, read.identity, read.has_dags, listed)

    @classmethod
    def load_all(
        cls, repository: Repository, commits: Iterable[str], paths: Sequence[str] = FILES
    ) -> dict[str, Self]:
        """Read some files of many commits; a commit that is not here is left out.

        However many commits there are, git is asked twice, and equal files are read once.

        Args:
            repository: The repository.
            commits: Full ids.
            paths: The files.

        """
        unique = list(dict.fromkeys(commits))
        parts = (
            "^{commit}",
            *(f":{path}" for path in RELEASE_PATHS),
            f":{DAGS}/",
            *(f":{path}" for path in paths),
        )
        objects = repository.objects([f"{commit}{part}" for commit in unique for part in parts])
        rows = [objects[start : start + len(parts)] for start in range(0, len(objects), len(parts))]
        files = len(parts) - len(paths)
        blobs = repository.blobs((entry for row in rows for entry in row[files:]), LARGEST)
        return {
            commit: cls(
                commit,
                {
                    path: blobs.get(entry.id) if entry else None
                    for path, entry in zip(paths, row[files:], strict=True)
                },
                release_file.identity([entry.id if entry else None for entry in row[1 : files - 1]]),
                row[files - 1] is not None,
            )
            for commit, row in zip(unique, rows, strict=True)
            if row[0]
        }

    @cached_property
    def environments(self) -> Environments:
        """The environments that its folders declare."""
        files: dict[str, bytes] = {}
        folders = [path for path in self.listed if re.fullmatch(_FILE, path)]
        environments.check_number(len(folders))
        for path, content in self.contents.items():
            if path.endswith(f"/{environments.FILE}") and content is not None:
                if twice := self._twice(path):
                    raise EnvironmentsError(
                        twice, "is there twice in the tree", "make the commit again with git"
                    )
                files[path.split("/")[1]] = content
        return Environments.from_files(files)

    def release(self, environment: str, *, follows: bool) -> Release | None:
        """Return the content of an environment's release file, or None where there is no file."""
        path = release_file.path_of(environment)
        if twice := self._twice(path):
            # `git show` takes the first of two equal names, a merge or a checkout may take the other.
            raise ReleaseError(path, f"{twice} is there twice in the tree", release_file.remedy(follows))
        content = self.contents.get(path)
        return None if content is None else release_file.parse(content, environment, follows=follows)

    def settings(self, environment: str) -> Settings:
        """Return the settings of an environment."""
        path = settings.path_of(environment)
        content = self.contents.get(path)
        if content is None:
            raise SettingsError(path, "missing", "every environment has its settings")
        return Settings.from_file(content, environment)

    @cached_property
    def calendar(self) -> Calendar:
        """The times at which releases may be promoted."""
        return Calendar.read(self.contents.get(calendar.PATH))

    @cached_property
    def licences(self) -> Licences:
        """The licences of the data that models learn from."""
        return Licences.read(self.contents.get(licences.PATH))

    @cached_property
    def contract(self) -> int:
        """The contract that its DAGs need of a runtime."""
        return contract.needed(self.contents[contract.PATH])

    @cached_property
    def evaluation(self) -> Evaluation:
        """The evaluation of its model."""
        return evaluation.evaluation(self.contents[EVALUATION], self.commit)

    @cached_property
    def export(self) -> Export:
        """How much its exported model differs from the trained one."""
        return evaluation.export(self.contents[EXPORT], self.commit)

    @cached_property
    def forgotten(self) -> Forgotten:
        """The photographs that were deleted on request, and the objects that went with them."""
        return Forgotten.read(self.contents.get(FORGOTTEN))

    @property
    def model(self) -> str | None:
        """The SHA-256 digest of the model that it evaluated; None where that is not known."""
        try:
            return self.evaluation.model_sha256
        except GateError:
            return None

    @cached_property
    def metrics(self) -> Metrics:
        """Its metrics, for people to compare."""
        return metrics.parse(self.contents.get)

    @cached_property
    def lock(self) -> Lock:
        """Its `dvc.lock`."""
        return Lock(self.commit, self.contents[LOCK] or b"", self.contents[PIPELINE] or b"")

    @cached_property
    def holdout(self) -> str | None:
        """The digest of its hold-out set; None where its `dvc.lock` records none."""
        return self.lock.digest(HOLDOUT)

    @cached_property
    def source(self) -> object:
        """The source of its data; None where its parameters name none."""
        return self._section("data").get("source")

    def export_limit(self, name: str) -> float:
        """Return a limit of the section `export` of its parameters; infinity where they have no number."""
        text = self._section("export").get(name)
        try:
            value = json_values.number(float(text)) if isinstance(text, str) else None
        except ValueError:
            return math.inf
        return math.inf if value is None else value

    def _section(self, name: str) -> dict[str, parse.Value]:
        try:
            value = parse.yaml_value(self.contents[PARAMETERS] or b"", parse.PARAMS)
        except ParseError:
            return {}
        return parse.mapping(parse.mapping(value).get(name))

    def _twice(self, path: str) -> str | None:
        parts = path.split("/")
        names = ("/".join(parts[: count + 1]) for count in range(len(parts)))
        return next((name for name in names if self.listed.get(name, 1) > 1), None)


def latest(repository: Repository, main: Snapshot) -> tuple[Environments, Finding | None]:
    """Return the environments of main, and the problem where those at its tip are not valid.

    A change of main that breaks them stops no environment: the last valid ones count.
    """
    try:
        return main.environments, None
    except EnvironmentsError as error:
        problem = error.finding
    limits = ("--first-parent", f"-{_HISTORY}")
    for change in repository.log(main.commit, environments.FOLDER, options=limits):
        try:
            return Snapshot.load(repository, change.id).environments, problem
        except EnvironmentsError:
            continue
    return EARLIER, problem
