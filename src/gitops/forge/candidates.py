"""The description of a candidate's pull request."""

from gitops.diff.diff import compare
from gitops.release.state import ReleaseState
from gitops.text.markdown import code, plain

_LONGEST = 2000


def describe(state: ReleaseState, commit: str) -> str:
    """Return the facts of a training that made a candidate, as Markdown.

    The gates are not among them: main and the releases of the environments may change while the pull request
    is open, and the report is made again then.
    """
    repository = state.repository
    start = repository.merge_base(state.tip, commit) or state.tip
    before, after = (state.snapshot(one) for one in (start, commit))
    message = repository.git("show", "--no-patch", "--format=%b", commit)
    changes = compare(repository, before, after, environments=False).summary
    parts = [
        plain(message, longest=_LONGEST),
        f"It changes: {plain(changes)}. It was trained from {code(start[:12])} of main.",
        f"The comment with the report compares it with the release of each environment, and the status "
        f"`verdict` shows whether it may be merged. After the merge {state.environments.root} runs it.",
    ]
    return "\n\n".join(filter(None, parts))
