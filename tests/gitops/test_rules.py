"""Whatever people and environments do, and in whatever order, the rules of promotion hold."""

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gitops import release
from gitops.check import check
from gitops.errors import NothingToDoError, RuleError
from gitops.promotion import Proposal, promote, push, release_hold, rollback
from gitops.release import Release

from .conftest import Lab

TARGETS = st.sampled_from(["staging", "prod"])


class Rules(RuleBasedStateMachine):
    """Keeps its own account of what ran and what was verified, to hold main against."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gitops-rules-"))
        self.lab = Lab(self.folder)
        self.models = self.notes = 0
        self.declared: dict[str, str | None] = {"staging": None, "prod": None}
        self.held: dict[str, bool] = {"staging": False, "prod": False}
        self.ran: dict[str, set[str]] = {"staging": set(), "prod": set()}
        self.verified: dict[str, set[str]] = {"staging": set(), "prod": set()}
        self.rejected: dict[str, set[str]] = {"staging": set(), "prod": set()}
        self.train()
        self.up("staging")

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule()
    def train(self) -> None:
        self.models += 1
        self.lab.train(f"m{self.models}", 0.9 + self.models / 10_000)

    @rule()
    def merge_code_that_is_no_release(self) -> None:
        self.notes += 1
        self.lab.land({"README.md": f"note {self.notes}\n".encode()})

    @rule(environment=TARGETS, reject=st.sampled_from([False, False, False, True]))
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

    @rule(environment=TARGETS)
    def up(self, environment: str) -> None:
        ledger = self.lab.ledger()
        try:
            proposal = promote(ledger, environment, self.lab.remote)
        except (RuleError, NothingToDoError):
            return
        commit = proposal.after.commit
        assert commit is not None
        assert not self.held[environment]
        assert commit not in self.rejected[environment]
        if environment == "prod":
            assert commit == self.declared["staging"]
            assert commit in self.verified["staging"]
        else:
            assert release.same(self.lab.origin, commit, "main")
        self.land(ledger, proposal)

    @rule(environment=TARGETS, to=st.none() | st.randoms(use_true_random=False))
    def back(self, environment: str, to: random.Random | None) -> None:
        ledger = self.lab.ledger()
        target = to.choice(sorted(self.ran[environment])) if to and self.ran[environment] else None
        try:
            proposal = rollback(ledger, environment, self.lab.remote, to=target)
        except (RuleError, NothingToDoError):
            return
        assert proposal.after.hold
        assert proposal.after.commit in self.ran[environment] - {self.declared[environment]}
        assert proposal.after.commit not in self.rejected[environment]
        if target is None:
            assert proposal.after.commit in self.verified[environment]
        self.land(ledger, proposal)

    @rule(environment=TARGETS)
    def lift(self, environment: str) -> None:
        ledger = self.lab.ledger()
        try:
            proposal = release_hold(ledger, environment, self.lab.remote)
        except NothingToDoError:
            assert not self.held[environment]
            return
        assert self.held[environment]
        assert proposal.after.commit == self.declared[environment]
        self.land(ledger, proposal)

    @rule(environment=TARGETS, random_=st.randoms(use_true_random=False), hold=st.booleans())
    def edit_by_hand(self, environment: str, random_: random.Random, hold: bool) -> None:
        """An edit that check lets pass is one that a command makes."""
        ledger = self.lab.ledger()
        before = ledger.present(environment)
        commits = [*self.lab.origin.git("rev-list", "main").splitlines(), "f" * 40]
        after = Release(commit=random_.choice(commits), hold="by hand" if hold else None)
        content = {release.path_of(environment): release.render(after, environment)}
        head = self.lab.branch("edit", content)
        broken = check(self.lab.ledger(), head)
        self.lab.origin.git("update-ref", "-d", "refs/heads/edit")
        if after.commit == before.commit:
            assert broken == []
        elif hold:
            assert (broken == []) == (after.commit in self.ran[environment] - self.rejected[environment])
        elif broken == []:
            assert not self.held[environment]
            assert after.commit not in self.rejected[environment]
            if environment == "prod":
                assert after.commit == self.declared["staging"]
                assert after.commit in self.verified["staging"]

    @invariant()
    def main_declares_what_was_done(self) -> None:
        if not hasattr(self, "lab"):
            return
        for environment, commit in self.declared.items():
            found = release.read(self.lab.origin, "main", environment)
            assert found is not None
            assert found.commit == commit
            assert (found.hold is not None) == self.held[environment]
        prod = self.declared["prod"]
        if prod is not None and prod not in self.verified["staging"] | self.rejected["staging"]:
            assert prod in self.ran["prod"]

    def land(self, ledger: object, proposal: Proposal) -> None:
        """Merge what a command proposed: check must let it pass, and main must then say it."""
        push(ledger, self.lab.remote, proposal)
        assert check(self.lab.ledger(), proposal.commit) == []
        self.lab.merge(proposal.branch)
        environment = proposal.environment
        self.declared[environment] = proposal.after.commit
        self.held[environment] = proposal.after.hold is not None
        if proposal.after.commit:
            self.ran[environment].add(proposal.after.commit)


def test_the_rules_hold_whatever_happens() -> None:
    run_state_machine_as_test(
        Rules,
        settings=settings(
            max_examples=5,
            stateful_step_count=16,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
