"""The next step of a person, from the releases that main declares and the verdicts of environments."""

from dataclasses import dataclass
from datetime import datetime

from gitops.promotion.due import awaited, due, runtime_due
from gitops.release.state import ReleaseState, last_good
from gitops.text import instructions
from gitops.text.instructions import LOCAL, Meeting


@dataclass(frozen=True)
class NextStep:
    """A sentence on where the releases stand, and the commands that go on from there."""

    text: str
    commands: tuple[str, ...]


def next_step(state: ReleaseState, at: Meeting = LOCAL, *, now: datetime | None = None) -> NextStep:
    """Return the most urgent step.

    Args:
        state: The state that main declares.
        at: Where proposals are merged.
        now: The time at which holds are judged; by default the present.

    """
    if fault := state.main_fault:
        return NextStep(f"{fault.subject} {fault.problem}", (fault.command,))
    environments = state.environments
    for name in environments:
        commit = state.wanted(name)
        if commit and state.verdicts.rejected(name, commit):
            return NextStep(f"{name} rejected {commit[:12]}", _way_back(state, name, commit, at))
    if state.main.model is None:
        return NextStep("main has no trained model yet", (instructions.train("main"),))
    for name in environments.promotable:
        commit = due(state, name)
        has = commit is None or state.has(name, commit, runtime_due(state, name, commit))
        if commit is None or has or state.present(name).holds(now):
            continue
        if any(state.verdicts.rejected(source, commit) for source in environments.chain(name)):
            continue
        waits = " and ".join(awaited(state, name))
        verified = f"; {waits} still has to verify it" if waits else ", and verified"
        return NextStep(f"release {commit[:12]} can go to {name}{verified}", instructions.promote(name, at))
    return NextStep(
        "every environment that is not held has the newest release; begin a change of your own",
        (instructions.begin("my-change", at),),
    )


def _way_back(state: ReleaseState, environment: str, commit: str, at: Meeting) -> tuple[str, ...]:
    if state.environments.follows(environment):
        return instructions.revert(commit, len(state.parents.get(commit, ())), at)
    if last_good(state, environment):
        return instructions.roll_back(environment, at)
    return (instructions.explain("rejected"),)
