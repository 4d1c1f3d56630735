"""Whatever people and environments do, and in whatever order, the rules of promotion hold."""

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gitops.errors import NothingToDoError, RuleError
from gitops.promotion.evidence import Evidence
from gitops.promotion.holds import unhold
from gitops.promotion.judgement import Judgement
from gitops.promotion.merge import check
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import Proposal, push
from gitops.promotion.rollbacks import rollback
from gitops.promotion.rules import judge_release
from gitops.release import file as release_file
from gitops.release.file import Release
from gitops.release.load import add
from gitops.release.snapshot import Snapshot
from gitops.release.state import ReleaseState
from tests.support.lab import Lab

CHANCE = st.randoms(use_true_random=False)
TARGETS = st.sampled_from(["staging", "prod"])


class Rules(RuleBasedStateMachine):
    """Keeps its own account of what main was, what ran and what was verified, to hold the rules against."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gitops-rules-"))
        self.lab = Lab(self.folder)
        self.models = self.notes = 0
        self.tips: list[str] = []
        self.model_at: dict[str, int] = {}
        self.declared: dict[str, str | None] = {"staging": None, "prod": None}
        self.held = {"staging": False, "prod": False}
        self.ran: dict[str, set[str]] = {"staging": set(), "prod": set()}
        self.verified: dict[str, set[str]] = {"staging": set(), "prod": set()}
        self.ever_verified: set[str] = set()
        self.rejected: dict[str, set[str]] = {"staging": set(), "prod": set()}
        self.ship()
        self.staging_goes_ahead()
        self.staging_goes_ahead()
        self.verify("staging", reject=True)
        self.staging_goes_ahead()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule()
    def ship(self) -> None:
        """The way that most releases take."""
        self.staging_goes_ahead()
        self.up("prod")

    @rule()
    def staging_goes_ahead(self) -> None:
        self.train()
        self.up("staging")
        self.verify("staging", reject=False)

    @rule()
    def train(self) -> None:
        self.models += 1
        self.lab.train(f"m{self.models}", 0.9 + self.models / 10_000)
        self.note()

    @rule()
    def merge_what_is_no_release(self) -> None:
        self.notes += 1
        self.lab.land({"README.md": f"note {self.notes}\n".encode()})
        self.note()

    @rule(environment=TARGETS, reject=st.booleans())
    def verify(self, environment: str, reject: bool) -> None:
        commit = self.declared[environment]
        if commit is None or commit in self.rejected[environment]:
            return
        self.lab.verify(environment, commit, "rejected" if reject else "verified")
        if reject:
            self.rejected[environment].add(commit)
            self.verified[environment].discard(commit)
        else:
            self.verified[environment].add(commit)
            if environment == "staging":
                self.ever_verified.add(commit)

    @rule(environment=TARGETS)
    def up(self, environment: str) -> None:
        state = self.lab.state()
        source = self.tips[-1] if environment == "staging" else self.declared["staging"]
        try:
            proposal = promote(self.lab.clone, state, environment, self.lab.remote)
        except NothingToDoError:
            assert source is None or self.same(source, self.declared[environment])
        except RuleError:
            assert not self.allowed(environment, source, hold=False)
        else:
            assert proposal.after == Release(commit=source)
            assert self.allowed(environment, source, hold=False)
            self.land(state, proposal)

    @rule(environment=TARGETS)
    def back(self, environment: str) -> None:
        state, present = self.lab.state(), self.declared[environment]
        try:
            proposal = rollback(self.lab.clone, state, environment, self.lab.remote)
        except RuleError:
            return
        commit = proposal.after.commit
        assert proposal.after.hold
        assert commit != present
        assert commit in self.verified[environment]
        assert self.allowed(environment, commit, hold=True)
        self.land(state, proposal)

    @rule(environment=TARGETS, chance=CHANCE)
    def back_to(self, environment: str, chance: random.Random) -> None:
        if not self.ran[environment]:
            return
        target = chance.choice(sorted(self.ran[environment]))
        state = self.lab.state()
        try:
            proposal = rollback(self.lab.clone, state, environment, self.lab.remote, to=target)
        except NothingToDoError:
            assert target == self.declared[environment]
        except RuleError:
            assert not self.allowed(environment, target, hold=True)
        else:
            assert proposal.after.commit == target
            self.land(state, proposal)

    @rule(environment=TARGETS)
    def lift(self, environment: str) -> None:
        state = self.lab.state()
        try:
            proposal = unhold(self.lab.clone, state, environment, self.lab.remote)
        except NothingToDoError:
            assert not self.held[environment]
        else:
            assert self.held[environment]
            assert proposal.after.commit == self.declared[environment]
            self.land(state, proposal)

    @rule(environment=TARGETS, chance=CHANCE)
    def edit_by_hand(self, environment: str, chance: random.Random) -> None:
        """What check says about a branch is what the rules say about its edit."""
        side = self.lab.commit({"dags/example.py": b""})
        edits = self.edits(environment, side, chance.choice(self.tips))
        edit = chance.choice(edits)
        head = self.lab.branch(
            "edit", {release_file.path_of(environment): release_file.render(edit, environment)}
        )
        assert check(self.lab.clone, self.lab.state(), head) == self.judge(
            self.lab.state(), environment, edit
        )
        self.lab.origin.git("update-ref", "-d", "refs/heads/edit")

    @rule(environment=TARGETS, chance=CHANCE)
    def merge_an_edit(self, environment: str, chance: random.Random) -> None:
        """A pull request that somebody wrote by hand, perhaps on top of an old main."""
        start = chance.choice(self.tips)
        edit = chance.choice(self.edits(environment, chance.choice(self.tips)))
        path = release_file.path_of(environment)
        self.lab.branch("edit", {path: release_file.render(edit, environment)}, on=start)
        allowed = self.allowed(environment, edit.commit, hold=edit.hold is not None)
        before = Snapshot.load(self.lab.origin, start).release(environment, follows=False)
        try:
            self.lab.merge("edit")
        except (NothingToDoError, RuleError):
            return
        finally:
            self.lab.origin.git("update-ref", "-d", "refs/heads/edit")
        self.note()
        if before != edit:
            assert allowed
            self.record(environment, edit)

    @invariant()
    def main_passes_its_own_check(self) -> None:
        if getattr(self, "tips", []):
            assert check(self.lab.clone, self.lab.state(), self.lab.tip).findings == ()

    @invariant()
    def all_that_ever_ran_was_verified_or_had_run_before(self) -> None:
        """As the history of main tells it, without this account of what was proposed."""
        if not getattr(self, "tips", []):
            return
        for environment in self.declared:
            ran: list[str | None] = [None]
            for entry in reversed(self.lab.state().history(environment)):
                if entry.commit != ran[-1]:
                    there_before = entry.hold is not None and entry.commit in ran
                    came_from_staging = entry.commit in self.ever_verified and entry.hold is None
                    assert there_before or came_from_staging or environment == "staging", entry
                    assert entry.hold is None or there_before, entry
                ran.append(entry.commit)

    @invariant()
    def main_declares_what_was_done(self) -> None:
        for environment, commit in getattr(self, "declared", {}).items():
            found = Snapshot.load(self.lab.origin, "main").release(environment, follows=False)
            assert found is not None
            assert found.commit == commit
            assert (found.hold is not None) == self.held[environment]

    @invariant()
    def edits_are_judged_as_the_commands_would_judge_them(self) -> None:
        if not getattr(self, "tips", []):
            return
        state = self.lab.state()
        for environment in self.declared:
            for edit in self.edits(environment, self.tips[-1]):
                broken = self.judge(state, environment, edit).findings
                allowed = self.allowed(environment, edit.commit, hold=edit.hold is not None)
                assert (broken == ()) == allowed, (environment, edit, broken)

    def judge(self, state: ReleaseState, environment: str, edit: Release) -> Judgement:
        state = add(state, self.lab.clone, [edit.commit])
        return judge_release(state, environment, edit, Evidence.of(self.lab.clone))

    def edits(self, environment: str, *more: str) -> list[Release]:
        """Edits of a release file that one might try: with a commit that means something, held or not."""
        commits = {
            *more,
            *self.declared.values(),
            *sorted(self.ran[environment])[:2],
            *self.rejected[environment],
        }
        return [
            Release(commit=commit, hold=hold)
            for commit in sorted(commits, key=str)
            for hold in (None, "by hand")
        ]

    def allowed(self, environment: str, commit: str | None, *, hold: bool) -> bool:
        """The rules, told once more in the terms of this account."""
        present = self.declared[environment]
        if commit == present:
            return True
        if commit is None or commit in self.rejected[environment]:
            return False
        if hold:
            return present is not None and commit in self.ran[environment]
        if self.held[environment] or commit not in self.tips or self.same(commit, present):
            return False
        if present is not None and self.tips.index(present) > self.tips.index(commit):
            return False
        return environment == "staging" or (
            commit == self.declared["staging"] and commit in self.verified["staging"]
        )

    def same(self, one: str, other: str | None) -> bool:
        return other is not None and self.model_at[one] == self.model_at[other]

    def note(self) -> None:
        self.tips.append(self.lab.tip)
        self.model_at[self.lab.tip] = self.models

    def land(self, state: ReleaseState, proposal: Proposal) -> None:
        """Merge what a command proposed: check must let it pass, and main must then say it."""
        push(self.lab.clone, self.lab.remote, proposal)
        self.lab.merge(proposal.branch)
        self.note()
        self.record(proposal.environment, proposal.after)

    def record(self, environment: str, after: Release) -> None:
        self.declared[environment] = after.commit
        self.held[environment] = after.hold is not None
        if after.commit:
            self.ran[environment].add(after.commit)


def test_the_rules_hold_whatever_happens() -> None:
    run_state_machine_as_test(
        Rules,
        settings=settings(
            max_examples=2,
            stateful_step_count=8,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
