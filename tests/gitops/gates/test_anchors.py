from datetime import UTC, datetime

import numpy as np
import pytest

from gitops.gates import anchors, recorded
from gitops.model.decisions import Decisions
from gitops.release.snapshot import Snapshot
from gitops.release.verdicts import Verdict
from tests.gitops.gates.test_gates import lock, source
from tests.gitops.gates.test_recorded import NAMES, answers, content, population
from tests.support.figures import model_files
from tests.support.snapshots import release

MARGIN = 0.003
HEAD = release(model_files("x") | source("synthetic"))


def verdict(release: Snapshot, accuracy: float | None) -> Verdict:
    return Verdict(
        verdict="verified",
        environment="dev",
        release=release.commit,
        claimed_accuracy=0.9,
        measured_accuracy=accuracy,
        onnxruntime="1.0",
        samples=2000,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_the_best_release_is_the_earliest_within_the_margin_of_the_highest() -> None:
    def best(verdicts: list[Verdict], head: Snapshot = HEAD) -> Snapshot | None:
        return anchors.best(head, verdicts, releases, MARGIN, lambda _: pytest.fail("nobody needs them"))

    accuracies = (0.90, 0.931, 0.933, 0.92)
    known = [release(model_files(f"m{number}") | source("synthetic")) for number in range(len(accuracies))]
    releases = {one.commit: one for one in known}
    verdicts = [verdict(one, accuracy) for one, accuracy in zip(known, accuracies, strict=True)]
    assert best([]) is None
    assert best(verdicts) == known[1]
    assert best([verdicts[0], *verdicts[2:]]) == known[2]
    assert best(verdicts, release(source("celeba"))) is None
    # Not one that is not here, nor one that nobody measured
    assert best([verdict(release({}), 0.99), verdict(known[3], None), *verdicts]) == known[1]


class World:
    """Releases whose hold-out sets are parts of one population; its images from 2,000 on are hard."""

    def __init__(self) -> None:
        self.truth = population(1, 4000)
        self.releases: dict[str, Snapshot] = {}
        self.decisions: dict[str, Decisions] = {}
        self.verdicts: list[Verdict] = []

    def verify(self, wrong: float, images: slice, seed: int, **files: bytes) -> Snapshot:
        """Verify a release that gets a share of the answers wrong, and of hard ones ten points more."""
        decided = answers(self.truth, seed, wrong)
        hard = np.random.default_rng([seed, 2]).random(self.truth.shape) < 0.1
        decided[2000:] ^= hard[2000:]
        truth, decided = self.truth[images], decided[images]
        accuracy = 1 - float((truth ^ decided).mean())
        md5 = f"{images.start:016x}{images.stop:016x}"
        written = model_files(f"m{seed}", accuracy, samples=len(truth), attributes=NAMES)
        made = release(written | lock(md5) | source("synthetic") | files)
        self.releases[made.commit] = made
        self.verdicts.append(verdict(made, accuracy))
        model = made.evaluation.model_sha256
        numbers = np.arange(len(self.truth))[images]
        self.decisions[made.commit] = Decisions.model_validate_json(
            content(truth, decided, model=model, md5=md5, numbers=numbers)
        )
        return made

    def best(self) -> Snapshot | None:
        return anchors.best(HEAD, self.verdicts, self.releases, MARGIN, self.decisions.get)


def test_harder_images_do_not_make_a_better_model_a_worse_one() -> None:
    world = World()
    old = world.verify(0.10, slice(0, 2000), 1)
    better = world.verify(0.06, slice(0, 4000), 2)
    assert better.evaluation.mean_accuracy < old.evaluation.mean_accuracy
    assert world.best() == better


def test_easier_images_do_not_make_a_worse_model_a_better_one() -> None:
    world = World()
    old = world.verify(0.06, slice(1500, 4000), 1)
    worse = world.verify(0.10, slice(0, 3000), 2)
    assert worse.evaluation.mean_accuracy > old.evaluation.mean_accuracy
    assert world.best() == old
    # One that is as good within the margin does not take its place
    world.verify(0.06, slice(1500, 3500), 3)
    assert world.best() == old


def test_the_later_of_two_releases_without_common_images_counts() -> None:
    world = World()
    world.verify(0.06, slice(0, 2000), 1)
    later = world.verify(0.10, slice(2000, 4000), 2)
    assert world.best() == later
    world.verify(0.12, slice(3000, 4000), 3)
    assert world.best() == later


def test_a_release_of_earlier_code_gives_way_to_a_later_one() -> None:
    world = World()
    first = world.verify(0.10, slice(0, 2000), 1)
    second = world.verify(0.12, slice(0, 3000), 2)
    world.decisions.clear()
    assert world.best() == second
    later = world.verify(0.20, slice(0, 4000), 3)
    assert world.best() == later
    # Measured on the same images, its accuracy counts all the same
    world.verify(0.06, slice(0, 4000), 4)
    del world.decisions[world.verdicts[-1].release]
    assert world.best() not in (first, second, later)


def test_who_leaves_the_decisions_out_does_not_become_the_measure() -> None:
    world = World()
    old = world.verify(0.06, slice(0, 2000), 1)
    later = world.verify(0.06, slice(0, 3000), 2)
    valid = world.decisions.pop(later.commit)
    assert world.best() == old
    world.decisions[later.commit] = valid.model_copy(update={"model_sha256": "0" * 64})
    assert world.best() == old
    # Nor does it with images that no other release answered
    del world.decisions[world.verify(0.01, slice(2500, 4000), 3).commit]
    assert world.best() == old


def test_a_release_whose_lock_cannot_be_read_does_not_count() -> None:
    world = World()
    old = world.verify(0.10, slice(0, 2000), 1)
    world.verify(0.06, slice(0, 2000), 2, **{"dvc.lock": b"[" * 100})
    assert world.best() == old


def test_the_gain_is_about_the_images_of_both() -> None:
    world = World()
    one = world.decisions[world.verify(0.06, slice(500, 3000), 1).commit]
    other = world.decisions[world.verify(0.10, slice(0, 2000), 2).commit]
    own = answers(world.truth, 1, 0.06)[500:2000] ^ world.truth[500:2000]
    others = answers(world.truth, 2, 0.10)[500:2000] ^ world.truth[500:2000]
    assert recorded.gain(one, other) == pytest.approx(others.mean() - own.mean(), abs=1e-12)
    assert recorded.gain(other, one) == pytest.approx(own.mean() - others.mean(), abs=1e-12)
    small = world.decisions[world.verify(0.06, slice(1499, 3499), 3).commit]
    assert recorded.gain(small, other) is None  # 501 of 2,000
    assert recorded.gain(small, one) is not None
    left = one.model_copy(update={"attributes": {"Unknown": one.attributes[NAMES[0]]}})
    assert recorded.gain(left, other) is None
