"""The description of a candidate's pull request."""

from gitops.diff.load import load_difference
from gitops.git.repository import Repository
from gitops.model import cost
from gitops.model.cost import Cost
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState
from gitops.text.markdown import code, plain

_LONGEST = 2000


def describe(repository: Repository, state: ReleaseState, commit: str) -> str:
    """Return the facts of a training that made a candidate, as Markdown.

    The gates are not among them: main and the releases of the environments may change while the pull request
    is open, and the report is made again then.
    """
    start = repository.merge_base(state.tip, commit) or state.tip
    snapshots = Snapshot.load_all(repository, (start, commit))
    message = repository.git("show", "--no-patch", "--format=%b", commit)
    trailer = repository.commit_info(commit).cost
    spent = Cost.of(trailer)
    changes = load_difference(repository, snapshots[start], snapshots[commit], environments=False).summary
    parts = [
        plain(message.replace(f"{cost.TRAILER}: {trailer}", "").strip(), longest=_LONGEST),
        f"The training took {cost.line(spent.total)}." if spent else "",
        f"It changes: {plain(changes)}. It was trained from {code(start[:12])} of main.",
        f"The comment with the report compares it with the release of each environment, and the status "
        f"`verdict` shows whether it may be merged. After the merge {state.environments.root} runs it.",
    ]
    return "\n\n".join(filter(None, parts))
