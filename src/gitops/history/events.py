"""Events: each thing that somebody did to a release, to the rules, or to main."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from gitops.errors import ReleaseError, VerdictError
from gitops.git.objects import Tag
from gitops.history.trunk import FileChange, Past, TrunkCommit
from gitops.release import calendar, holds, keys, signatures
from gitops.release import file as release_file
from gitops.release.approvals import APPROVED, Approval
from gitops.release.file import Release
from gitops.release.verdicts import REJECTED, VERIFIED, Verdict
from gitops.text.markdown import one_line

_ENVIRONMENT = re.compile(r"environments/([^/]+)/([^/]+)")
_MOST_PATHS = 20
_LONGEST = 2000
# The files beside a release file that decide about releases.
_KINDS = {"environment.yaml": "environment", "settings.env": "settings", keys.FILE: "keys"}
_PLACES = {calendar.PATH: "calendar", signatures.SIGNERS: "keys"}


@dataclass(frozen=True)
class Event:
    """One thing that somebody did. Every field is text on one line, '' where it does not apply.

    Attributes:
        at: The time that git records, in UTC.
        kind: `change` for each commit of main; `release`, `rollback`, `hold`, `unhold`, `override` and
            `invalid` for a release file; `settings`, `environment`, `calendar` and `keys` for other files
            that decide about releases; `verified`, `rejected`, `approved` and `ignored` for a tag.
        environment: The environment.
        release: The release, a full commit id.
        by: The author of the commit of main, who merged or pushed it; of a tag, the tagger.
        proposed_by: The authors of the merged branches.
        committer: The committer of the commit of main: a forge's own name where its button was used.
        source: The id of the commit of main, or of the object of the tag.
        name: The subject of the commit, or the name of the tag.
        key: The fingerprint of the Ed25519 key in the signature. That it is valid is not checked here.
        before: The release, the hold or the id of the file before.
        after: The same after it.
        detail: Further facts.

    """

    at: str
    kind: str
    environment: str = ""
    release: str = ""
    by: str = ""
    proposed_by: str = ""
    committer: str = ""
    source: str = ""
    name: str = ""
    key: str = ""
    before: str = ""
    after: str = ""
    detail: str = ""

    def plain(self) -> dict[str, str]:
        """Return it as JSON can carry it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def on_main(self) -> bool:
        """Whether main records it, where nobody can put anything in between later."""
        return self.kind not in (VERIFIED, REJECTED, APPROVED, "ignored")


def events(past: Past) -> list[Event]:
    """Return all events in order.

    Those of main are in the order of main. A tag comes before the first commit of main with a later date.
    """
    dated: list[tuple[datetime, int, Sequence[Event]]] = []
    latest = datetime.min.replace(tzinfo=UTC)
    for number, commit in enumerate(past.trunk):
        # The clocks of two machines differ, and main has the order that it has.
        latest = max(latest, commit.at)
        dated.append((latest, number, [*_of_commit(past, commit)]))
    for tag in sorted(past.tags, key=lambda tag: (tag.name, tag.object_id)):
        dated.append((tag.at or datetime.fromtimestamp(0, UTC), len(past.trunk), [_of_tag(tag)]))
    return [event for _, _, group in sorted(dated, key=lambda item: item[:2]) for event in group]


def _of_commit(past: Past, commit: TrunkCommit) -> Iterator[Event]:
    def event(kind: str, **values: str) -> Event:
        return Event(
            at=commit.at.isoformat(),
            kind=kind,
            by=commit.commit.author,
            # A merge has any number of parents, and an export is read with a limit for each line.
            proposed_by=one_line(commit.proposed_by, longest=_LONGEST),
            committer=commit.commit.committer,
            source=commit.commit.id,
            name=commit.commit.subject,
            key=keys.signer(commit.commit.signature) or "",
            **{name: one_line(value, longest=_LONGEST) for name, value in values.items()},
        )

    paths = [change.path for change in commit.changes]
    more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
    yield event("change", detail=f"{', '.join(paths[:_MOST_PATHS])}{more}")
    for change in commit.changes:
        match = _ENVIRONMENT.fullmatch(change.path)
        if match and match[2] == "release.yaml":
            for kind, values in _of_release_file(past, change, match[1]):
                yield event(kind, environment=match[1], **values)
        elif kind := _PLACES.get(change.path) or (_KINDS.get(match[2]) if match else None):
            of = match[1] if match and change.path not in _PLACES else ""
            before, after = change.before or "", change.after or ""
            yield event(kind, environment=of, before=before, after=after, detail=change.path)


def _of_release_file(
    past: Past, change: FileChange, environment: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the kind and the values of each event that a change of a release file is."""
    before, _ = _read(past, change.before, environment)
    after, problem = _read(past, change.after, environment)
    if after is None:
        was = _release(before)
        yield ("invalid", {"before": was, "detail": problem}) if problem else ("release", {"before": was})
        return
    was, now = _release(before), _release(after)
    if was != now:
        kind = "rollback" if after.hold is not None and before is not None else "release"
        yield kind, {"release": after.commit or "", "before": was, "after": now}
    if after.override is not None and (was != now or before is None or before.override != after.override):
        yield "override", {"release": after.commit or "", "detail": after.override}
    elif was == now and before is not None and before.override and before.hold == after.hold:
        # The reason alone is taken out
        yield "override", {"release": after.commit or "", "before": before.override}
    held, holding = (holds.parse(release.hold if release else None) for release in (before, after))
    for hold in holding:
        if hold not in held:
            yield "hold", {"release": after.commit or "", "after": str(hold)}
    for hold in held:
        if hold not in holding:
            yield "unhold", {"release": after.commit or "", "before": str(hold)}


def _read(past: Past, name: str | None, environment: str) -> tuple[Release | None, str]:
    """Return a release file, or why it is not valid; no release and no reason where there is no file."""
    if name is None:
        return None, ""
    if name not in past.contents:
        return None, "its content is not in this repository"
    problem = ""
    for follows in (False, True):
        try:
            return release_file.parse(past.contents[name], environment, follows=follows), ""
        except ReleaseError as error:
            problem = problem or str(error)
    return None, problem


def _release(release: Release | None) -> str:
    if release is None:
        return ""
    return f"follows {release.follow}" if release.follow else release.commit or "no release"


def _of_tag(tag: Tag) -> Event:
    at = tag.at.isoformat() if tag.at else ""
    values = {"by": tag.tagger, "source": tag.object_id, "name": one_line(tag.name, longest=_LONGEST)}
    key = keys.signer(tag.signature) or ""
    if tag.name.startswith(f"{APPROVED}/"):
        try:
            approval = Approval.read(tag)
        except VerdictError as error:
            return Event(at, "ignored", release=tag.commit, key=key, detail=str(error), **values)
        return Event(at, APPROVED, approval.environment, approval.release, key=key, **values)
    try:
        verdict = Verdict.read(tag)
    except VerdictError as error:
        return Event(at, "ignored", release=tag.commit, key=key, detail=str(error), **values)
    measured, claimed = verdict.measured_accuracy, verdict.claimed_accuracy
    figures = f"measured {measured}, claimed {claimed}, {verdict.samples} images, ONNX Runtime"
    return Event(
        at,
        verdict.verdict,
        environment=verdict.environment,
        release=verdict.release,
        key=key,
        detail=one_line(f"{figures} {verdict.onnxruntime}; {verdict.reason}".rstrip("; "), longest=_LONGEST),
        **values,
    )
