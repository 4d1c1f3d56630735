"""Approvals: a person who may sign agrees that a release goes into an environment.

An approval is an annotated tag on the release's commit, `approved/<env>/<sha12>/<who>`, that a person in
`environments/allowed_signers` signed. Its time is the date of the tag. It counts for a number of days, and
for every commit of an equal release. The rules of promotion decide whose approval counts.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from gitops.errors import ParseError, VerdictError
from gitops.git.objects import Tag, is_full_sha
from gitops.git.repository import Repository
from gitops.release import keys, signatures
from gitops.release.environments import LONGEST_NAME, NAME, Environment, Environments
from gitops.release.signatures import Lists
from gitops.release.verdicts import Ignored
from gitops.text import parse

APPROVED = "approved"

_CLOCKS_DIFFER = timedelta(minutes=10)
_MOST = 200
"""How many approvals of an environment by listed keys are verified, the newest first, in a process each."""
_WHO = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_WHO = 60
_CHANGES = (".", ":(exclude,glob)environments/*/release.yaml")
_PATTERN = re.compile(r"[*?!]")


class Approval(BaseModel):
    """The content of one approval. The signature of its tag shows whose it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: str = Field(pattern=NAME, max_length=LONGEST_NAME)
    release: str
    at: AwareDatetime

    @field_validator("release")
    @classmethod
    def _full(cls, value: str) -> str:
        if not is_full_sha(value):
            raise ValueError("a full commit id, 40 hexadecimal digits")
        return value

    @property
    def folder(self) -> str:
        """The beginning of the names of its tag, and of those of others for the same release."""
        return f"{APPROVED}/{self.environment}/{self.release[:12]}/"

    @property
    def message(self) -> str:
        """The message of its tag: one line for people, then the content as JSON."""
        summary = f"{self.release[:12]} may be promoted into {self.environment}"
        return f"{summary}\n\n{json.dumps(self.model_dump(mode='json'), indent=1)}"

    @classmethod
    def read(cls, tag: Tag) -> Self:
        """Read the approval that a tag carries, in the one form in which `gitops approve` writes it.

        Raises:
            VerdictError: where it is no annotated tag on a commit, or its name, its message and its date do
                not agree.

        """
        if tag.problem:
            raise VerdictError(f"it is {tag.problem}")
        try:
            data = parse.json_value(tag.message.partition("\n\n")[2].encode(), parse.VERDICT)
            approval = cls.model_validate(data)
        except (ParseError, ValidationError) as error:
            raise VerdictError("its message is not that of an approval") from error
        who = tag.name.removeprefix(approval.folder)
        if who == tag.name or not _WHO.fullmatch(who) or approval.release != tag.commit:
            raise VerdictError(f"its message is that of {approval.folder}...")
        if f"\ntag {tag.name}\n".encode() not in tag.signed.partition(b"\n\n")[0]:
            raise VerdictError("its object has another name")
        if tag.at is None or int(approval.at.timestamp()) != int(tag.at.timestamp()):
            raise VerdictError("its message states another time than its date")
        return approval


@dataclass(frozen=True)
class Given:
    """An approval with a valid signature.

    Attributes:
        environment: The environment.
        release: The commit of the release.
        at: The date of its tag.
        people: All addresses of the person who signed it, as the list has them, in lower case.
        name: The name of its tag.

    """

    environment: str
    release: str
    at: datetime
    people: frozenset[str]
    name: str

    @property
    def by(self) -> str:
        """The person who signed it."""
        return " ".join(sorted(self.people))


@dataclass(frozen=True)
class Approvals:
    """The approvals of the environments that ask for some, newest first, and the tags that do not count."""

    given: tuple[Given, ...] = ()
    ignored: tuple[Ignored, ...] = ()

    @classmethod
    def load(
        cls,
        repository: Repository,
        lists: Lists,
        environments: Environments,
        *,
        remote: str | None = None,
        now: datetime | None = None,
    ) -> Self:
        """Read and verify the approvals last fetched from `remote`, or the repository's own.

        Those that are over are not verified, so that old ones cost nothing.
        """
        moment = now or datetime.now(UTC)
        given: list[Given] = []
        ignored: list[Ignored] = []
        for name in environments:
            if not environments[name].approvals:
                continue
            days = timedelta(days=environments[name].approvals_days)
            tags = repository.tags(f"{APPROVED}/{name}", remote=remote)
            tags.sort(key=lambda tag: (tag.at is not None and tag.at.timestamp(), tag.name), reverse=True)
            number = 0
            for tag in tags:
                try:
                    approval = _claimed(lists, tag, days, moment)
                    number += 1
                    if number > _MOST:
                        raise VerdictError(f"{name} has more than {_MOST} newer ones")
                    given.append(_verified(repository, lists, tag, approval))
                except VerdictError as error:
                    ignored.append(Ignored(tag.name, str(error)))
        return cls(tuple(given), tuple(ignored))


NO_APPROVALS = Approvals()


def _claimed(lists: Lists, tag: Tag, valid_for: timedelta, now: datetime) -> Approval:
    """Return the approval of a tag by a listed key. Everything that needs no process is checked."""
    approval = Approval.read(tag)
    if approval.at > now + _CLOCKS_DIFFER:
        raise VerdictError("its date is in the future")
    if approval.at + valid_for < now:
        raise VerdictError(f"it was over on {approval.at + valid_for:%Y-%m-%d %H:%M} UTC")
    if problem := lists.problem or (None if lists.signers else f"there is no {signatures.SIGNERS}"):
        raise VerdictError(problem)
    if problem := keys.signers_objection(tag.signed, tag.signature, lists.signers or b""):
        raise VerdictError(problem)
    return approval


def _verified(repository: Repository, lists: Lists, tag: Tag, approval: Approval) -> Given:
    signer, problem = signatures.signer(repository, "verify-tag", tag.object_id, lists.signers or b"")
    if signer is None:
        raise VerdictError(problem)
    if _PATTERN.search(signer):
        raise VerdictError(f"{signer[:80]} in {signatures.SIGNERS} is nobody's address; list one for each")
    people = frozenset(signer.lower().split(","))
    people = people.union(*(person for person in signatures.people(lists.signers or b"") if person & people))
    return Given(approval.environment, approval.release, approval.at, people, tag.name)


def give(
    repository: Repository,
    lists: Lists,
    environment: Environment,
    commit: str,
    *,
    now: datetime | None = None,
) -> tuple[Tag, Given]:
    """Make the signed tag of an approval, by the person whose key git signs with. Pushes nothing.

    Raises:
        VerdictError: where the approval would not count.
        GitError: where git cannot sign.

    """
    moment = (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
    approval = Approval(environment=environment.name, release=repository.resolve(commit), at=moment)
    words = re.sub(r"[^a-z0-9]+", "-", repository.addresses()[1]).strip("-")
    name = f"{approval.folder}{words[:_LONGEST_WHO].strip('-') or 'somebody'}"
    tag = repository.signed_tag(approval.release, name, approval.message, at=moment)
    claimed = _claimed(lists, tag, timedelta(days=environment.approvals_days), moment)
    return tag, _verified(repository, lists, tag, claimed)


def authors(
    repository: Repository,
    before: str | None,
    commit: str,
    signers: bytes | None,
    *,
    promotion: bool = False,
) -> frozenset[str]:
    """Return the addresses of everybody who had a part in the commits of a change, in lower case.

    They are authors, committers, co-authors, and people of the list of signers whose keys signed a commit.
    Commits that only move releases, as promotions do, are no part of the change that a release brings.

    Args:
        repository: The repository.
        before: The commit that is there; None for the first release, whose change is the commit itself and
            the branch that it merged.
        commit: The commit that comes.
        signers: The list of signers.
        promotion: Whether it is the promotion itself whose authors are asked for.

    """
    paths = () if promotion else _CHANGES
    start = before or repository.object_ids([f"{commit}^1"])[0]
    revisions = [commit, f"^{start}"] if start else [commit]
    form = "%ae%n%ce%n%GS%n%(trailers:key=Co-authored-by,valueonly)"
    with signatures.verifying(signers or b"") as config:
        options = (f"--format={form}", "--full-history", "--end-of-options", *revisions, "--", *paths)
        listed = repository.git("log", *options, config=config, timeout=300)
    found: set[str] = set()
    for line in listed.splitlines():
        _, bracket, address = line.strip().removesuffix(">").rpartition("<")
        found.update((address if bracket else line).strip().lower().split(","))
    return frozenset(found - {""})


def counted(given: Iterable[Given], excluded: Mapping[str, str]) -> tuple[tuple[Given, ...], tuple[str, ...]]:
    """Return the approvals that count, one of each person, and why the others do not.

    Args:
        given: The approvals of one release.
        excluded: The addresses of people whose approval does not count, each with the reason.

    """
    kept: list[Given] = []
    reasons: list[str] = []
    for one in given:
        why = next((excluded[person] for person in sorted(one.people) if person in excluded), None)
        if why:
            reasons.append(f"{one.by} {why}")
        elif not any(one.people & other.people for other in kept):
            kept.append(one)
    return tuple(kept), tuple(dict.fromkeys(reasons))
