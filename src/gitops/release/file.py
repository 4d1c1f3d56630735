"""The release file: which commit runs in an environment.

`environments/<env>/release.yaml` on `main` is the only source. The first environment follows
`main`; each other one names a commit, or null before its first release.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gitops.errors import ParseError, ReleaseError
from gitops.git.objects import Commit, is_full_sha
from gitops.release import environments, holds, runtimes
from gitops.release.holds import Hold
from gitops.text import parse as parser

RELEASE_PATHS = (
    "dags",
    "src/drawn_faces",
    "src/face_attributes",
    "params.yaml",
    "dvc.yaml",
    "dvc.lock",
    "requirements.lock",
)
"""The identity of a release: two commits with the same contents here are the same release."""

TrialKind = Literal["shadow", "canary"]
"""A shadow answers no batch, a canary answers a share of them."""

_FOLLOW = "write `follow: main`"
_NAME_A_COMMIT = "write `commit: <40 hexadecimal digits>`, or `commit: null` before the first release"


# Editors complete and check the file by it
_SCHEMA = "# yaml-language-server: $schema=../../schemas/release.schema.json\n"


def _number(value: object) -> object:
    """Return whole numbers as such: the parser gives text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


class Release(BaseModel):
    """The content of one release file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    follow: Literal["main"] | None = Field(default=None, description="Run the latest commit of main.")
    commit: str | None = Field(
        default=None,
        description="The commit to run; null before the first release.",
        json_schema_extra={"pattern": "^[0-9a-f]{40}$"},
    )
    hold: str | None = Field(
        default=None,
        description="The reasons why no promotion is allowed for now, as gitops hold writes them: "
        "`REASON (WHO, YYYY-MM-DD HH:MM UTC, until YYYY-MM-DD); ...`. Text without brackets is one reason.",
    )
    runtime: str | None = Field(
        default=None,
        description="The runtime that the release runs on: the digest of the image (sha256:...), or of "
        "requirements.lock on the local engine (lock:...). Without it, any.",
        json_schema_extra={"pattern": runtimes.NAME},
    )

    override: str | None = Field(
        default=None,
        description="The reason for a promotion outside of the calendar. An allowed signer signs its commit.",
    )

    shadow: str | None = Field(
        default=None,
        description="The commit whose model scores the batches too, beside that of the release, as "
        "gitops shadow writes it.",
        json_schema_extra={"pattern": "^[0-9a-f]{40}$"},
    )

    canary: str | None = Field(
        default=None,
        description="The commit whose model answers a share of the batches and online requests in place of "
        "the release's, as gitops canary writes it.",
        json_schema_extra={"pattern": "^[0-9a-f]{40}$"},
    )

    share: Annotated[int | None, BeforeValidator(_number)] = Field(
        default=None,
        ge=1,
        le=99,
        description="The share that the canary answers, in percent.",
    )

    @property
    def trial(self) -> str | None:
        """The commit whose model is tried beside the release: the shadow, or the canary."""
        return self.shadow or self.canary

    @property
    def trial_kind(self) -> TrialKind:
        """The kind of that trial."""
        return "shadow" if self.shadow else "canary"

    def holds(self, now: datetime | None = None) -> tuple[Hold, ...]:
        """Return the reasons that keep promotions away now."""
        return holds.standing(self.hold, now)


@dataclass(frozen=True)
class Declaration:
    """The declaration of one environment on `main`.

    `commit` is the commit that should run (None: no release yet), `by` the commit of `main` that last changed
    the release file (main itself, if the environment follows main), `at` its time.
    """

    environment: str
    release: Release
    commit: str | None
    by: str
    at: datetime

    @classmethod
    def made_by(cls, change: Commit, environment: str, release: Release) -> Self:
        """Return the declaration that a commit of main made."""
        commit = change.id if release.follow else release.commit
        return cls(environment, release, commit, change.id, change.at)

    @property
    def hold(self) -> str | None:
        return self.release.hold


def path_of(environment: str) -> str:
    """Return the path of an environment's release file in the repository.

    Raises:
        ReleaseError: for a name that cannot be one of an environment.

    """
    return environments.path_of(environment, "release.yaml")


def parse(content: bytes, environment: str, *, follows: bool) -> Release:
    """Read a release file.

    Args:
        content: The file.
        environment: The name of the environment.
        follows: Whether the environment follows main.

    Raises:
        ReleaseError: with the file, the problem and the remedy.

    """
    path, right = path_of(environment), remedy(follows)
    try:
        data = parser.yaml_value(content, parser.RELEASE)
    except ParseError as error:
        raise ReleaseError(error.place(path), str(error), right) from error
    if not isinstance(data, dict):
        raise ReleaseError(path, "not a mapping of keys to values", right)
    for key in data:
        if key not in Release.model_fields:
            raise ReleaseError(
                path, f"{_word(key)}: unknown key", f"{right}, and `hold: <reason>` where needed"
            )
    try:
        release = Release.model_validate(data)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        raise ReleaseError(path, f"{field}: {_short(data[field])} does not fit", right) from error
    if "follow" in data and "commit" in data:
        raise ReleaseError(path, "both follow and commit", right)
    if follows:
        if release.follow is None:
            raise ReleaseError(path, f"{environment} follows main", right)
        if "hold" in data:
            problem = f"hold: {environment} follows main and cannot be held"
            raise ReleaseError(path, problem, "revert the change on main")
        if "override" in data:
            raise ReleaseError(path, f"override: {environment} follows main at any time", "take it out")
        for key in ("shadow", "canary", "share"):
            if key in data:
                raise ReleaseError(path, f"{key}: {environment} runs whatever main is", "take it out")
        if "runtime" in data:
            raise ReleaseError(
                path, f"runtime: {environment} runs the one that its engine has", "take it out"
            )
        return release
    if "follow" in data:
        raise ReleaseError(path, f"follow: {environment} follows nothing", right)
    if "runtime" in data and not (release.runtime and re.fullmatch(runtimes.NAME, release.runtime)):
        problem = f"runtime: {_short(data['runtime'])} is no digest"
        raise ReleaseError(path, problem, "write `runtime: sha256:<64 hexadecimal digits>`, or take it out")
    if "commit" not in data:
        raise ReleaseError(path, "no commit", right)
    if release.commit is not None and not is_full_sha(release.commit):
        raise ReleaseError(path, f"commit: {_short(release.commit)} is not a full commit id", right)
    for key, value in (("shadow", release.shadow), ("canary", release.canary)):
        if key in data and not (value and is_full_sha(value)):
            problem = f"{key}: {_short(value)} is not a full commit id"
            raise ReleaseError(path, problem, "write 40 hexadecimal digits, or take it out")
    if (release.canary is None) != (release.share is None):
        lacking = "share" if release.share is None else "canary"
        raise ReleaseError(path, f"no {lacking}", "write both `canary: <commit>` and `share: <percent>`")
    if release.canary and release.shadow:
        raise ReleaseError(path, "both shadow and canary", "keep one: a canary is compared like a shadow")
    if "hold" in data and not (release.hold and release.hold.strip() and release.hold.isprintable()):
        raise ReleaseError(path, "hold: no reason", "write `hold: <reason>` on one line, or take it out")
    if "override" in data and not (
        release.override and release.override.strip() and release.override.isprintable()
    ):
        raise ReleaseError(
            path, "override: no reason", "write `override: <reason>` on one line, or take it out"
        )
    try:
        holds.parse(release.hold)
    except ValueError as error:
        raise ReleaseError(path, f"hold: {error}", "write dates as YYYY-MM-DD") from error
    return release


def render(release: Release, environment: str) -> bytes:
    """Write a release as the content of its file; `parse` gives the same release back."""
    if release.follow:
        return f"{_SCHEMA}# {environment} runs whatever main is.\nfollow: main\n".encode()
    data: dict[str, str | int | None] = {"commit": release.commit}
    if release.runtime is not None:
        data["runtime"] = release.runtime
    if release.hold is not None:
        data["hold"] = release.hold
    if release.shadow is not None:
        data["shadow"] = release.shadow
    if release.canary is not None:
        data |= {"canary": release.canary, "share": release.share}
    if release.override is not None:
        data["override"] = release.override
    by = "changed only by gitops promote, rollback, hold, unhold, shadow and canary"
    header = f"{_SCHEMA}# The release of {environment}, {by}.\n"
    lines = (
        f"{key}: {'null' if value is None else _scalar(value) if isinstance(value, str) else value}\n"
        for key, value in data.items()
    )
    content = (header + "".join(lines)).encode()
    if parse(content, environment, follows=False) != release:
        raise ReleaseError(path_of(environment), f"{release!r} cannot be written")
    return content


def identity(parts: Sequence[str | None]) -> str:
    """Return a digest of the ids of RELEASE_PATHS."""
    text = "".join(f"{path} {part}\n" for path, part in zip(RELEASE_PATHS, parts, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()


def remedy(follows: bool) -> str:
    """Return how a release file must be written."""
    return _FOLLOW if follows else _NAME_A_COMMIT


def _scalar(text: str) -> str:
    return yaml.safe_dump(text, allow_unicode=True, width=10**9).removesuffix("...\n").strip()


def _word(key: object) -> str:
    text = str(key)
    return text if text.isprintable() and 0 < len(text) <= 40 else _short(key)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
