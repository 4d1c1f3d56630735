"""Prune: the branches, tags and objects that nobody needs, removed.

Branches and tags go first, then the objects that only they needed. An object of the DVC remote goes into a
trash there, where it waits for as many days as everything stays. A training or a promotion that runs
meanwhile may need it again: after each prune, and before the next one, everything that is needed is put back.
So a process that is killed at any point goes on when the command runs again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gitops.dvc.objects import Objects, Store, in_folder
from gitops.errors import GitopsError, StorageError
from gitops.git.repository import Repository
from gitops.history.load_runs import fetch_experiments
from gitops.release.load import fetch_state
from gitops.upkeep.load import load_facts
from gitops.upkeep.plan import Facts, Plan, Policy, plan

_TOGETHER = 100


@dataclass(frozen=True)
class Prune:
    """One prune.

    Args:
        repository: A repository that may fetch from and push to the remote.
        remote: The remote.
        objects: The objects of the DVC remotes.
        policy: How much is kept.
        now: The present time.
        caches: Caches of DVC on this machine, beside the one that its settings name.
        incidents: Environments with an open alarm.
        echo: Called with a line about each step.

    """

    repository: Repository
    remote: str
    objects: Objects
    policy: Policy
    now: datetime
    caches: tuple[Path, ...] = ()
    incidents: tuple[str, ...] = ()
    echo: Callable[[str], None] = print

    def facts(self) -> tuple[Facts, Store]:
        """Fetch, and return the facts, with the DVC remote as it is now.

        Raises:
            GitopsError: if main was rewritten: the releases that ran are not known then.
            GitError: if the remote cannot be reached.
            StorageError: if the DVC remote does not answer.

        """
        state = fetch_state(self.repository, self.remote)
        if fault := state.main_fault:
            raise GitopsError(f"{fault}; nothing is removed until main is itself again")
        fetch_experiments(self.repository, self.remote)
        return load_facts(
            self.repository,
            self.remote,
            state,
            self.objects,
            caches=self.caches,
            incidents=self.incidents,
            now=self.now,
        )

    def plan(self) -> tuple[Plan, Store]:
        """Fetch, and return the plan, else as `facts`."""
        facts, store = self.facts()
        return plan(facts, self.policy, self.now), store

    def act(self, due: Plan, store: Store) -> None:
        """Carry a plan out.

        Raises:
            PushRejectedError: if somebody moved one of its branches or tags meanwhile.
            StorageError: if an object that is needed is damaged in the trash.

        """
        self._recover(due.restored, store)
        for begin in range(0, len(due.references), _TOGETHER):
            names = {one.name: one.target for one, _ in due.references[begin : begin + _TOGETHER]}
            self.repository.push(self.remote, dict.fromkeys(names), leases=names)
        self.echo(f"removed: {len(due.references)} branches and tags")
        gone = [one.digest for one in due.objects if not one.place]
        if gone:
            self.objects.discard(gone, self.now.astimezone(UTC).date().isoformat())
        self.echo(f"in the trash of {store.name}: {len(gone)} objects")
        if gone:
            again, after = self.plan()
            self._recover(again.restored, after)
        removed = self.objects.purge(due.before)
        self.echo(f"removed: {removed} objects of its trash, from before {due.before}")
        self._clean_caches(due)

    def _recover(self, digests: Iterable[str], store: Store) -> None:
        wanted = set(digests)
        if not wanted:
            return
        damaged = self.objects.recover(one for one in store.trash if one.digest in wanted)
        self.echo(f"put back: {len(wanted) - len(damaged)} objects that somebody needs again")
        if damaged:
            raise StorageError(
                f"{store.name}: needed objects are damaged in its trash: {', '.join(damaged[:3])}; "
                "put them back: .venv/bin/gitops doctor --repair"
            )

    def _clean_caches(self, due: Plan) -> None:
        for cache in sorted({one.place for one in due.objects if one.place}):
            gone = {one.digest for one in due.objects if one.place == cache}
            for digest, path in in_folder(Path(cache)).items():
                if digest in gone:
                    path.unlink(missing_ok=True)
            self.echo(f"removed: {len(gone)} objects of {cache}")
