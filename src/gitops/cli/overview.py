"""`gitops` without a command: where you stand, and the next step."""

from typing import Any

from gitops.cli.context import following, open_checkout, print_next
from gitops.cli.options import OUT
from gitops.errors import GitError

_MORE = "All commands: .venv/bin/gitops --help"


def show() -> None:
    """Print the branch, the release of each environment as last fetched, and the next command."""
    from gitops.promotion.next_step import NextStep
    from gitops.release.load import fetch_state, load_state

    repository, remote = open_checkout(None, needed=False)
    branch = repository.git("branch", "--show-current").strip() or "a detached commit"
    OUT.print(f"Your checkout: {repository.path}, {branch}", soft_wrap=True, markup=False)
    if not remote:
        _next(NextStep("no git remote here declares releases", ("make up",)))
        return
    try:
        state, asked = load_state(repository, remote=remote), "as last fetched"
    except GitError:
        state, asked = fetch_state(repository, remote), "fetched now"
    OUT.print(f"Releases on {remote} ({asked}):", soft_wrap=True, markup=False)
    for name in state.environments:
        OUT.print(f"  {name:<10} {_declared(state, name)}", soft_wrap=True, markup=False)
    _next(following(repository, remote, state))


def _declared(state: Any, environment: str) -> str:
    commit, holds = state.wanted(environment), state.present(environment).holds()
    if commit is None or (commit == state.tip and state.main.model is None):
        return "no release yet"
    verdict = "not verified yet"
    if state.verdicts.rejected(environment, commit):
        verdict = "rejected"
    elif state.verdicts.verified(environment, commit):
        verdict = "verified"
    held = f", held: {'; '.join(map(str, holds))}" if holds else ""
    return f"{commit[:12]} {verdict}{held}"


def _next(step: Any) -> None:
    print_next(step, OUT)
    OUT.print(f"\n{_MORE}", soft_wrap=True, markup=False)
