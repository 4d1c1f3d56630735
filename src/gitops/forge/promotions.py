"""Whose turn it is: whether it is time to promote into an environment, and the pull request for that.

Nothing here decides more than a person could: the pull request is what `gitops promote` proposes, and whoever
merges it promotes.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from gitops.diff.diff import compare
from gitops.dvc import provenance
from gitops.errors import NothingToDoError, RuleError, SettingsError
from gitops.forge import pull_request
from gitops.forge.client import GitHub
from gitops.promotion.proposals import Proposal, awaited, due, promote, push
from gitops.promotion.rules import NO_EVIDENCE, Evidence
from gitops.release import file as release_file
from gitops.release.state import Ledger
from gitops.text import instructions
from gitops.text.instructions import Meeting
from gitops.text.markdown import Fold, code, fit, plain

LONGEST = 60_000
"""What the description of a pull request may be long, with room."""


@dataclass(frozen=True)
class Turn:
    """What is to be done about promotions into one environment, and why.

    `open`: propose it. `wait`: not yet, and a pull request that is open may stay. `over`: there is nothing to
    promote, or somebody holds it, so that none may stay open. `refused`: a rule forbids what is due.
    """

    environment: str
    state: Literal["open", "wait", "over", "refused"]
    text: str
    proposal: Proposal | None = None
    refused: tuple[str, ...] = ()
    """Each rule that forbids it."""


def decide(
    ledger: Ledger,
    environment: str,
    remote: str,
    evidence: Evidence = NO_EVIDENCE,
    *,
    now: datetime | None = None,
) -> Turn:
    """Decide whether it is time to promote into `environment` the release that the ones before it run.

    It is once these have verified it, for as long as MIN_SOAK_HOURS asks.
    """
    environments = ledger.environments
    sources = environments.before(environment)
    source = " and ".join(sources)
    if hold := ledger.present(environment).hold:
        return Turn(environment, "over", f"held: {hold}")
    commit = due(ledger, environment)
    if commit is None:
        return Turn(environment, "wait", f"{source} has no release yet")
    short = commit[:12]
    if release_file.same(ledger.repository, ledger.present(environment).commit, commit):
        return Turn(environment, "over", f"has the release of {source}, {short}, already")
    for name in sources:
        if tag := ledger.verdicts.rejected(name, commit):
            return Turn(environment, "over", f"{name} rejected {short} ({tag.name})")
        there = commit if environments.follows(name) else ledger.present(name).commit
        if not release_file.same(ledger.repository, there, commit):
            runs = (there or "nothing")[:12]
            return Turn(environment, "wait", f"{short} is due, but {name} runs {runs}")
    missing = awaited(ledger, environment)
    ages = [age for name in sources if (age := ledger.verdicts.age(name, commit, now=now)) is not None]
    if missing or len(ages) < len(sources):
        return Turn(environment, "wait", f"{' and '.join(missing) or source} has not verified {short} yet")
    age = min(ages)
    try:
        soak = timedelta(hours=ledger.settings(environment).min_soak_hours)
    except SettingsError as error:
        return Turn(environment, "refused", str(error), refused=(str(error),))
    if soak and age < soak:
        until = (now or datetime.now(UTC)) + soak - age
        return Turn(
            environment,
            "wait",
            f"{source} verified {short} not long enough ago; due {until:%Y-%m-%d %H:%M} UTC",
        )
    if notice := provenance.notice(ledger.repository, commit):
        return Turn(environment, "wait", f"{short}: {notice.text}")
    try:
        proposal = promote(ledger, environment, remote, evidence, now=now)
    except NothingToDoError as error:
        return Turn(environment, "over", str(error))
    except RuleError as error:
        return Turn(environment, "refused", str(error), refused=tuple(map(str, error.problems)))
    return Turn(environment, "open", proposal.message.partition("\n")[0], proposal)


def act(github: GitHub, ledger: Ledger, remote: str, turn: Turn) -> Turn:
    """Open, update or close the pull request of an environment, and say what was done."""
    branch = f"promote/{turn.environment}"
    if turn.proposal is not None:
        push(ledger, remote, turn.proposal)
        at = instructions.meeting(ledger.repository.remote_url(remote))
        kept, done = pull_request.keep(github, branch, turn.text, describe(ledger, turn.proposal, at))
        return replace(turn, text=f"{turn.text}: {done}, {kept.url}")
    present = pull_request.find(github, branch)
    if present is None:
        return turn
    if turn.state == "over":
        why = f"Nothing to promote into {turn.environment} any more: {plain(turn.text)}."
        pull_request.close(github, present, why)
        return replace(turn, text=f"{turn.text}; closed {present.url}")
    return replace(turn, text=f"{turn.text}; still open: {present.url}")


def describe(ledger: Ledger, proposal: Proposal, at: Meeting) -> str:
    """Return what a reviewer reads first, as Markdown; `at` is where the proposal is merged."""
    environment, commit = proposal.environment, proposal.after.commit
    sources = ledger.environments.before(environment)
    verified = ""
    for source in sources:
        verdict = ledger.verdicts.verified(source, commit)
        if verdict is not None and verdict.measured_accuracy is not None:
            verified += (
                f" {source} verified it on {verdict.at:%Y-%m-%d at %H:%M} UTC: mean accuracy "
                f"{verdict.measured_accuracy:.4f} on {verdict.samples} images ({code(verdict.tag)})."
            )
    come_from = f"{' and '.join(sources)} {'runs' if len(sources) == 1 else 'run'}"
    first = [
        f"{environment} is to run {code((commit or '')[:12])}, which {come_from}.{verified}",
        f"Merging changes `{release_file.path_of(environment)}` and nothing else; {environment} then takes "
        "the release. To go back, in a checkout after `make setup`:",
        f"```sh\n{instructions.text(instructions.roll_back(environment, at))}\n```",
    ]
    found = compare(ledger.repository, proposal.before.commit, commit, environments=False)
    folds = [Fold("What changes in " + environment, found.markdown().rstrip())]
    return fit("\n\n".join(first), folds, longest=LONGEST)
