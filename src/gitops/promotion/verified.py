"""The verdicts that a promotion needs: of every environment before, and on the runtime that comes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from gitops.errors import SettingsError
from gitops.findings import Finding
from gitops.release import file as release_file
from gitops.release import runtimes
from gitops.release.state import ReleaseState
from gitops.text import instructions


def verified_before(
    state: ReleaseState, environment: str, commit: str, runtime: str | None, now: datetime | None
) -> Iterator[Finding]:
    """Require the verdict of every environment before this one, and that those directly before it run it."""
    file, short, environments = release_file.path_of(environment), commit[:12], state.environments
    sources = environments.before(environment)
    for source in sources:
        # The environment that follows main ran whatever main was, one commit after the other.
        there = commit if environments.follows(source) else state.present(source).commit
        # Of several environments each may have the same release under a commit of its own.
        if there != commit and not (len(sources) > 1 and state.same(there, commit)):
            runs = there[:12] if there else "nothing yet"
            yield Finding(
                file,
                f"{environment} takes the release of {source} ({runs}), not {short}",
                f"name {runs}, or wait until {source} runs {short}",
                rule="other-release-before",
            )
    missing = False
    for earlier_one in environments.chain(environment):
        if tag := state.verdicts.rejected(earlier_one, commit):
            on_main = environments.follows(earlier_one)
            right = "fix it on main and promote that" if on_main else "promote another release"
            yield Finding(file, f"{earlier_one} rejected {short} ({tag.name})", right, rule="rejected")
            missing = True
        elif state.verdicts.verified(earlier_one, commit) is None:
            yield Finding(
                file,
                f"{earlier_one} has not verified {short} yet",
                f"wait for verify_release in {earlier_one}, usually under two minutes",
                rule="not-verified-yet",
                command=instructions.promote(environment)[0],
            )
            missing = True
    if missing:
        return
    yield from _on_the_runtime(state, environment, commit, runtime)
    try:
        soak = timedelta(hours=state.settings(environment).min_soak_hours)
    except SettingsError as error:
        yield replace(error.finding, remedy=f"{error.finding.remedy}; repair the settings on main first")
        return
    for source in sources:
        age = state.verdicts.age(source, commit, now=now)
        # Without a soak no clock is compared: those of two machines are never quite equal.
        if soak and age is not None and age < soak:
            yield Finding(
                file,
                f"{source} verified {short} {_hours(age)} ago",
                f"MIN_SOAK_HOURS of {environment} requires {_hours(soak)}: wait {_hours(soak - age)}",
                rule="soak",
            )


def _on_the_runtime(
    state: ReleaseState, environment: str, commit: str, runtime: str | None
) -> Iterator[Finding]:
    """Require a verdict on the runtime that comes, or that the environment has by its own last verdict."""
    sources = state.environments.before(environment)
    if runtime is not None:
        if not any(state.verdicts.verified_by_name(source, commit, runtime) for source in sources):
            names = " and ".join(sources)
            problem = f"{names} has not verified {commit[:12]} on the runtime {runtimes.short(runtime)}"
            right = f"wait until {names} runs it, and has verified the release there"
            yield Finding(release_file.path_of(environment), problem, right, rule="other-runtime")
        return
    needed = state.verdicts.runtime(environment)
    if needed is None or any(state.verdicts.verified_on(source, commit, needed) for source in sources):
        return
    others = (state.verdicts.every(source, commit) for source in sources)
    known = [verdicts[-1].runtime for verdicts in others if verdicts and verdicts[-1].runtime]
    names = " and ".join(sources)
    yield Finding(
        release_file.path_of(environment),
        f"{names} verified {commit[:12]} on {' and '.join(map(str, known))}, and {environment} has {needed}",
        f"bring {names} and {environment} to one runtime, and wait for the next verdict",
        rule="other-runtime",
    )


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"
