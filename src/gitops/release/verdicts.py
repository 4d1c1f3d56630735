"""Verdicts: the result of an environment's own verification of a release.

A verdict is an annotated tag on the release's commit, `verified/<env>/<sha12>` or `rejected/<env>/<sha12>`,
whose message carries the figures as JSON. The environment signs it, and only a key in
`environments/<env>/verifiers` on main makes it count. Its time is the date of the tag. A rejection outweighs
a verification. If the environment had verified the release on other runtimes alone, the tag has the digest of
the runtime at its end, and the rejection is one on this runtime: on the others, the release may still run. A
tag in any other form is no verdict, whoever made it: it is ignored, and `gitops status` names it.
"""

import json
import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from gitops.errors import GitError, ParseError, PushRejectedError, VerdictError
from gitops.git.objects import Tag, is_full_sha
from gitops.git.repository import Repository
from gitops.release import keys
from gitops.release.checks import Checks
from gitops.release.environments import LONGEST_NAME, NAME
from gitops.release.keys import PrivateKey
from gitops.release.runtimes import Runtime
from gitops.release.signatures import Lists, Trust
from gitops.release.snapshot import Snapshot
from gitops.text import parse
from gitops.text.markdown import one_line

log = logging.getLogger(__name__)

VERIFIED, REJECTED = "verified", "rejected"

_YEARS = range(1970, 2101)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_REASON = 500
_CLOCKS_DIFFER = timedelta(minutes=10)
"""How far in the future the date of a verdict may be: the clocks of two machines are never quite equal."""


@dataclass(frozen=True)
class Ignored:
    """A tag whose name is that of a verdict or an approval, or resembles one, but which does not count."""

    name: str
    why: str

    def __str__(self) -> str:
        shown = "".join(letter if letter.isprintable() else "?" for letter in self.name)
        return f"{shown if len(shown) <= 80 else f'{shown[:77]}...'}: ignored, {self.why}"


class Verdict(BaseModel):
    """The figures of one verdict. Accuracies are mean accuracies, 0 to 1, on the release's own hold-out."""

    # Later versions add keys, which this one ignores.
    model_config = ConfigDict(extra="ignore", frozen=True)

    verdict: Literal["verified", "rejected"]
    environment: str = Field(pattern=NAME, max_length=LONGEST_NAME)
    release: str
    claimed_accuracy: float | None = Field(ge=0, le=1)
    measured_accuracy: float | None = Field(ge=0, le=1)
    onnxruntime: str
    samples: int = Field(ge=0, le=10**9)
    at: AwareDatetime
    reason: str = ""
    checks: Checks = ()
    """The checks of the environment. Earlier versions wrote none."""
    model_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """The digest of the file that was measured; verdicts of earlier runtimes have none."""
    runtime: Runtime | None = None
    """The runtime that it was measured on. Earlier versions did not write it."""
    latency_ms: float | None = Field(default=None, ge=0, le=1e9)
    """The milliseconds of one image, the median."""
    again: bool = False
    """Whether the environment had verified the release before, on another runtime or long ago. A rejection
    then counts on its own runtime."""

    @field_validator("release")
    @classmethod
    def _full(cls, value: str) -> str:
        if not is_full_sha(value):
            raise ValueError("a full commit id, 40 hexadecimal digits")
        return value

    @field_validator("at")
    @classmethod
    def _plausible(cls, value: datetime) -> datetime:
        if value.year not in _YEARS:
            raise ValueError("a time from 1970 to 2100")
        return value

    @field_validator("reason")
    @classmethod
    def _readable(cls, value: str) -> str:
        # The text comes from other programs. A tag that is too long or cannot be read would not be a verdict.
        return one_line(value, longest=_LONGEST_REASON)

    @property
    def tag(self) -> str:
        name = tag_name(self.verdict, self.environment, self.release)
        if self.again and self.runtime:
            return f"{name}-{self.runtime.digest}"
        return name

    @property
    def message(self) -> str:
        """The tag's message: one line for people, then the figures as JSON."""
        measured = (
            "not measured" if self.measured_accuracy is None else f"{self.measured_accuracy:.4f} measured"
        )
        claimed = "none claimed" if self.claimed_accuracy is None else f"{self.claimed_accuracy:.4f} claimed"
        reason = f": {self.reason}" if self.reason else ""
        summary = f"{self.verdict} in {self.environment}: mean accuracy {measured}, {claimed}{reason}"
        figures = self.model_dump(mode="json")
        # Earlier versions know no such keys, and read a verdict without them.
        new = ("checks", "model_sha256", "runtime", "latency_ms", "again")
        content = {key: value for key, value in figures.items() if value or key not in new}
        return f"{summary}\n\n{json.dumps(content, indent=1)}"

    @classmethod
    def read(cls, tag: Tag) -> Self:
        """Read the verdict that a tag carries, in the one form in which an environment writes it.

        Raises:
            VerdictError: where it is no annotated tag on a commit, its message carries no figures, or its
                name does not match its message.

        """
        if tag.problem:
            raise VerdictError(f"it is {tag.problem}")
        # A reason may have braces too, but it is on the first line.
        content = tag.message.partition("\n\n")[2]
        try:
            data = parse.json_value(content.encode(), parse.VERDICT)
            verdict = cls.model_validate(data)
        except (ParseError, ValidationError) as error:
            raise VerdictError("its message carries no figures") from error
        if (verdict.tag, verdict.release) != (tag.name, tag.commit):
            raise VerdictError(f"its message is that of {verdict.tag}")
        # `git tag` writes the name of a tag into its object; a reference may have another name.
        if f"\ntag {tag.name}\n".encode() not in tag.signed.partition(b"\n\n")[0]:
            raise VerdictError("its object has another name")
        if tag.at is None or int(verdict.at.timestamp()) != int(tag.at.timestamp()):
            raise VerdictError("its message states another time than its date")
        return verdict


def tag_name(verdict: str, environment: str, commit: str) -> str:
    """Return the name of the tag that a verdict on `commit` gets."""
    return f"{verdict}/{environment}/{commit[:12]}"


class Answer(Protocol):
    """An answer of an environment, which a signed tag carries."""

    @property
    def environment(self) -> str: ...
    @property
    def at(self) -> datetime: ...


def objection(tag: Tag, verdict: Answer, lists: Lists, now: datetime) -> str | None:
    """Return why a verdict does not count, or None if it does.

    Args:
        tag: The tag that carries it.
        verdict: Its content, such as from `Verdict.read`.
        lists: The keys of the environments.
        now: The present.

    """
    if not tag.signature:
        return "it is not signed"
    if lists.problem:
        return lists.problem
    listed = lists.keys(verdict.environment)
    if listed is None:
        path = keys.path_of(verdict.environment)
        return (
            f"there is no {path} on main; make it: .venv/bin/gitops keys create {verdict.environment} --push"
        )
    if reason := listed.objection(tag.signed, tag.signature):
        return reason
    if verdict.at > now + _CLOCKS_DIFFER:
        return "its date is in the future"
    return None


def record(
    repository: Repository, remote: str, verdict: Verdict, key: PrivateKey, *, main: str = "main"
) -> None:
    """Push a verdict as a signed tag. Recording the same verdict again changes nothing.

    A tag of its name that is no verdict is replaced.

    Raises:
        VerdictError: if the release is already rejected and would be verified, or the key is not listed.

    """
    repository.fetch(remote)
    taken = _taken(repository, remote, verdict, key, main)
    if taken is not None:
        made = repository.tag(verdict.release, verdict.tag, verdict.message, at=verdict.at, sign=key.sign)
        reference = f"refs/tags/{verdict.tag}"
        leases = {f"refs/tags/{tag.name}": tag.object_id for tag in taken}
        try:
            repository.push(remote, {reference: made}, leases=leases)
        except PushRejectedError:
            # Somebody may have recorded the same at the same moment.
            repository.fetch(remote)
            if _taken(repository, remote, verdict, key, main) is not None:
                raise
    log.info("%s: recorded", verdict.tag)


def _taken(
    repository: Repository, remote: str, verdict: Verdict, key: PrivateKey, main: str
) -> Sequence[Tag] | None:
    """Return the tags without a meaning that have the name of a verdict; None if it is recorded already."""
    environment = verdict.environment
    try:
        tip = repository.resolve(repository.branch_ref(remote, main))
    except GitError as error:
        raise VerdictError(f"{verdict.tag}: {remote} has no branch {main}") from error
    lists = Trust.load(repository, tip, (environment,), remote=remote).lists
    listed = lists.keys(environment)
    if lists.problem or listed is None or key.public not in listed.keys:
        problem = lists.problem or (
            f"{keys.path_of(environment)} on {main} does not list it; "
            f"list it: .venv/bin/gitops keys create {environment} --push"
        )
        raise VerdictError(
            f"the key {keys.fingerprint(key.public)} of {environment} would not count: {problem}"
        )
    now = datetime.now(UTC)

    def counts(tag: Tag) -> bool:
        try:
            return objection(tag, Verdict.read(tag), lists, now) is None
        except VerdictError:
            return False

    rejection = tag_name(REJECTED, environment, verdict.release)
    if verdict.verdict == VERIFIED and any(map(counts, repository.tags(rejection, remote=remote))):
        raise VerdictError(
            f"{verdict.tag}: {environment} rejected this release before; "
            f"to give it another chance: git push {remote} --delete refs/tags/{rejection}"
        )
    tags = [tag for tag in repository.tags(verdict.tag, remote=remote) if tag.name == verdict.tag]
    # A verification on the same runtime takes the place of the one before.
    done = [tag for tag in tags if counts(tag) and not (verdict.again and Verdict.read(tag).at < verdict.at)]
    return None if done else tags


@dataclass(frozen=True)
class Verdicts:
    """All verdicts that a repository knows about, by release: equal releases share theirs.

    Attributes:
        verifications_by_release: The verifications of each environment and release, oldest first.
        rejections: The first rejection.
        rejections_on_runtimes: Rejections on one runtime, oldest first.
        identities: The identity of each commit that these can be asked about.
        ignored: The tags that are no verdict, by name.
        runtimes: The runtime, or its name, for which these are asked about an environment. For another
            environment, the last verdict counts.

    """

    verifications_by_release: Mapping[tuple[str, str], tuple[Verdict, ...]]
    rejections: Mapping[tuple[str, str], Tag]
    rejections_on_runtimes: Mapping[tuple[str, str], tuple[tuple[Tag, Verdict], ...]]
    identities: Mapping[str, str]
    ignored: tuple[Ignored, ...] = ()
    runtimes: Mapping[str, Runtime | str] = field(default_factory=dict[str, Runtime | str])

    @classmethod
    def load(
        cls,
        repository: Repository,
        lists: Lists,
        *,
        remote: str | None = None,
        environment: str | None = None,
        environments: Container[str] | None = None,
        commits: Iterable[str] = (),
    ) -> Self:
        """Read the verdicts last fetched from `remote`, or the repository's own tags.

        Args:
            repository: The repository.
            lists: The keys of the environments.
            remote: The remote.
            environment: The environment whose verdicts are read; by default all.
            environments: The environments whose verdicts count; by default all.
            commits: The commits that these can be asked about, besides those with a verdict.

        """
        folder = f"{environment}/" if environment else ""
        tags = repository.tags(*(f"{kind}/{folder}" for kind in (VERIFIED, REJECTED)), remote=remote)
        ignored: list[Ignored] = []
        counted: list[tuple[Tag, Verdict]] = []
        now = datetime.now(UTC)
        for tag in sorted(tags, key=lambda tag: (tag.at or _BEGINNING, tag.name)):
            try:
                verdict = Verdict.read(tag)
            except VerdictError as error:
                ignored.append(Ignored(tag.name, str(error)))
                continue
            if environments is not None and verdict.environment not in environments:
                reason: str | None = f"there is no environment {verdict.environment}"
            else:
                reason = objection(tag, verdict, lists, now)
            if reason is None:
                counted.append((tag, verdict))
            else:
                ignored.append(Ignored(tag.name, reason))
        asked = dict.fromkeys([*(tag.commit for tag, _ in counted), *commits])
        none = cls({}, {}, {}, {}, tuple(sorted(ignored, key=lambda tag: tag.name)))
        named = none.adding({**asked, **Snapshot.load_all(repository, asked, ())})
        verified: dict[tuple[str, str], tuple[Verdict, ...]] = {}
        rejected: dict[tuple[str, str], Tag] = {}
        on_runtimes: dict[tuple[str, str], tuple[tuple[Tag, Verdict], ...]] = {}
        for tag, verdict in counted:
            key = (verdict.environment, named.identities[tag.commit])
            if verdict.verdict == VERIFIED:
                verified[key] = (*verified.get(key, ()), verdict)
            elif verdict.again:
                on_runtimes[key] = (*on_runtimes.get(key, ()), (tag, verdict))
            else:
                rejected.setdefault(key, tag)
        return replace(
            named,
            verifications_by_release=verified,
            rejections=rejected,
            rejections_on_runtimes=on_runtimes,
        )

    @classmethod
    def of_environment(
        cls,
        repository: Repository,
        remote: str,
        environment: str,
        main: str = "main",
        commits: Iterable[str] = (),
    ) -> Self:
        """Read an environment's own verdicts, last fetched from `remote` with its whole main.

        They are asked about the runtime of this process.
        """
        tip = repository.resolve(repository.branch_ref(remote, main))
        lists = Trust.load(repository, tip, (environment,), remote=remote).lists
        found = cls.load(repository, lists, remote=remote, environment=environment, commits=commits)
        return found.on(environment, Runtime.present())

    def on(self, environment: str, runtime: Runtime | str) -> Self:
        """Return these, asked about a runtime of an environment, or its name."""
        return replace(self, runtimes={**self.runtimes, environment: runtime})

    def adding(self, snapshots: Mapping[str, Snapshot | None]) -> Self:
        """Return these with more commits that they can be asked about.

        A commit that is not here is only ever the same release as itself.
        """
        identities = {commit: item.identity if item else commit for commit, item in snapshots.items()}
        return replace(self, identities={**self.identities, **identities})

    def verified(self, environment: str, commit: str | None) -> Verdict | None:
        """Return the first verification of a release by an environment, or None where there is none."""
        return next(iter(self.every(environment, commit)), None)

    def every(self, environment: str, commit: str | None) -> tuple[Verdict, ...]:
        """Return the verifications of a release by an environment, oldest first; none of a rejected one."""
        if commit is None or self.rejected(environment, commit):
            return ()
        return self.verifications_by_release.get((environment, self.identities[commit]), ())

    def verified_on(self, environment: str, commit: str | None, runtime: Runtime) -> Verdict | None:
        """Return the last verification of a release on a runtime, whatever its processor; None without one.

        A verdict of before there were runtimes counts for each.
        """
        there = (
            verdict
            for verdict in reversed(self.every(environment, commit))
            if verdict.runtime is None or verdict.runtime.same_image(runtime)
        )
        return next(there, None)

    def verified_by_name(self, environment: str, commit: str | None, name: str) -> Verdict | None:
        """Return the last verification of a release on the runtime of a name; None without one."""
        there = (
            verdict
            for verdict in reversed(self.every(environment, commit))
            if verdict.runtime is not None and verdict.runtime.name == name
        )
        return next(there, None)

    def runtime(self, environment: str) -> Runtime | None:
        """Return the runtime of the last verdict of an environment; None if none of them names one."""
        known = (
            verdict
            for (where, _), verdicts in self.verifications_by_release.items()
            for verdict in verdicts
            if where == environment and verdict.runtime is not None
        )
        last = max(known, key=lambda verdict: verdict.at, default=None)
        return last.runtime if last else None

    def airflow(self, name: str | None) -> str | None:
        """Return the version of Airflow in the runtime of a name; None if no verdict names it."""
        versions = (
            verdict.runtime.airflow
            for verdicts in self.verifications_by_release.values()
            for verdict in verdicts
            if verdict.runtime and verdict.runtime.name == name and verdict.runtime.airflow
        )
        return next(versions, None) if name else None

    def verifications(self, environment: str) -> list[Verdict]:
        """Return the first verification of each release that an environment did not reject, oldest first."""
        verified = (
            verdicts[0]
            for (where, identity), verdicts in self.verifications_by_release.items()
            if where == environment and self._rejection((where, identity)) is None
        )
        # Tags of the same second are in no order
        return sorted(verified, key=lambda verdict: verdict.at)

    def rejected(self, environment: str, commit: str | None) -> Tag | None:
        """Return the tag by which an environment rejected a release, or None where it did not."""
        return None if commit is None else self._rejection((environment, self.identities[commit]))

    def _rejection(self, key: tuple[str, str]) -> Tag | None:
        if tag := self.rejections.get(key):
            return tag
        runtime, verified = self.runtimes.get(key[0]), self.verifications_by_release.get(key, ())

        def counts(rejection: Verdict) -> bool:
            if isinstance(runtime, Runtime):
                return rejection.runtime is not None and rejection.runtime.same_image(runtime)
            if runtime is not None:
                return rejection.runtime is not None and rejection.runtime.name == runtime
            return all(verdict.at <= rejection.at for verdict in verified)

        found = reversed(self.rejections_on_runtimes.get(key, ()))
        return next((tag for tag, rejection in found if counts(rejection)), None)

    def doubted(self, environment: str, commit: str) -> datetime | None:
        """Return when an environment rejected a release last on another runtime; None if it did not."""
        found = self.rejections_on_runtimes.get((environment, self.identities[commit]))
        return found[-1][1].at if found else None

    def latest(self, environment: str, commit: str | None) -> Verdict | None:
        """Return the last verdict of an environment on a release, be it a rejection; None without one."""
        rejection = self.rejected(environment, commit)
        if rejection:
            return Verdict.read(rejection)
        return next(reversed(self.every(environment, commit)), None)

    def age(self, environment: str, commit: str, *, now: datetime | None = None) -> timedelta | None:
        """Return for how long a release has been verified, or None where it is not."""
        verdict = self.verified(environment, commit)
        if verdict is None:
            return None
        # Its clock may be a little fast.
        return max((now or datetime.now(UTC)) - verdict.at, timedelta())
