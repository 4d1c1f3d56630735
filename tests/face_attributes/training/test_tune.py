import csv
import dataclasses
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import torch

from face_attributes.common.errors import SearchError
from face_attributes.data import arrays
from face_attributes.model.network import multiplications
from face_attributes.params import SEARCHED
from face_attributes.training import hyperparameters, loop, proposals, trial_run, trials, tune
from face_attributes.training.device import Runtime
from face_attributes.training.trials import Trial
from tests.support.waiting import wait_for

# Learning rates of nine trials of the formula below
SEQUENCE = [
    *(0.002, 0.000708377, 0.0006689, 0.002431957, 0.004273911),
    *(0.007953631, 0.007982591, 0.003971775, 0.001236503),
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path / "home"))
    return tmp_path


class Search:
    """Runs searches whose trainings are replaced by a formula, and notes what was tried."""

    def __init__(self, tiny, made, home, monkeypatch):
        self.tiny, self.made, self.home = tiny, made, home
        self.tried, self.again = [], []
        self.fail_at = ()  # numbers of trials, below zero with another seed
        self.kill_at = None
        self.delay = lambda number: 0
        self.gains = {}  # of trials by number, with another seed alone
        monkeypatch.setattr(trial_run, "fit", self.fit)
        monkeypatch.setattr(trial_run, "_right", self.right)

    def right(self, score, part, runtime):
        random = np.random.default_rng(1)
        return random.binomial(part.labels.shape[1], score, len(part))

    def fit(self, train, validation, params, runtime, *, checkpoint, keep_going, description):
        started = time.monotonic()
        number, *again = description.removeprefix("trial ").split(" ", 1)
        number = int(number)
        time.sleep(self.delay(number))
        if number == self.kill_at:
            raise KeyboardInterrupt
        (self.again if again else self.tried).append({name: getattr(params, name) for name in SEARCHED})
        if (-number if again else number) in self.fail_at:
            raise SearchError("the loss is no longer a number")
        score = 0.9 - abs(np.log10(params.learning_rate) + 2.5) / 20 - params.dropout / 50
        score += self.gains.get(number, 0) if again else 0
        for epoch in range(1, params.epochs + 1):
            if not keep_going(loop.Epoch(epoch, 0.5, 0.5, score - 0.1 / epoch)):
                break
        return loop.FitResult(network=score, seconds=time.monotonic() - started)

    def run(self, folder="search", **changes):
        params = self.tiny.tune.model_copy(update=changes)
        out = self.home / folder
        tune.tune(
            params,
            self.tiny.train,
            self.made.prepared,
            out / "best.json",
            out / "trials.csv",
            out / "search.json",
            self.home / "trials.json",
        )
        return (out / "best.json").read_text(), (out / "trials.csv").read_text()

    def run_elsewhere(self, numbers, **changes):
        """Run trials as commands, each with the records of those before; return the last record."""
        params = self.tiny.tune.model_copy(update=changes)
        given, out = self.home / "trials.json", self.home / "trial.json"
        for number in numbers:
            trial_run.run_alone(number, params, self.tiny.train, given, out, self.made.prepared)
            records = json.loads(given.read_text()) if given.exists() else []
            given.write_text(json.dumps([json.loads(out.read_text()), *records]))
        return json.loads(out.read_text())


@pytest.fixture
def search(tiny, made, home, monkeypatch):
    return Search(tiny, made, home, monkeypatch)


def test_the_first_trial_is_what_the_parameters_say(search, tiny):
    search.run(trials=2)
    assert search.tried[0] == {name: getattr(tiny.train, name) for name in SEARCHED}


def test_a_search_of_one_trial_trains_nothing(search, tiny):
    written, table = search.run(trials=1)
    assert search.tried == search.again == []
    found = json.loads(written)
    assert {name: found[name] for name in SEARCHED} == {name: getattr(tiny.train, name) for name in SEARCHED}
    assert (found["trial"], found["trials"]) == (1, 1)
    (row,) = csv.DictReader(table.splitlines())
    assert (row["outcome"], row["accuracy"], row["epochs"]) == ("not run", "", "0")
    assert json.loads((search.home / "search/search.json").read_text())["seconds"] == 0


def test_values_lie_in_the_space(search, tiny):
    search.run(trials=20)
    space = tiny.tune.space
    for values in search.tried:
        assert values["width"] in space.width
        assert isinstance(values["width"], int)
        for name in set(SEARCHED) - {"width"}:
            interval = getattr(space, name)
            assert interval.low <= values[name] <= interval.high
    assert len({values["learning_rate"] for values in search.tried}) == 20


def test_the_best_trial_wins(search):
    written, table = search.run(trials=12)
    rows = list(csv.DictReader(table.splitlines()))
    finished = [row for row in rows if row["outcome"] == "finished"]
    winner = max(finished, key=lambda row: float(row["accuracy"]))
    found = json.loads(written)
    assert found["trial"] == int(winner["trial"])
    assert found["trials"] == len(rows) - 2 == 12
    cost = json.loads((search.home / "search" / "search.json").read_text())
    assert (cost["device"], cost["trials"]) == ("cpu", 12)
    assert min(cost["cores"], cost["memory_gb"]) > 0 <= cost["seconds"]
    assert f"{found['learning_rate']:.6g}" == winner["learning_rate"]
    assert hyperparameters.read(search.home / "search/best.json") == search.tried[found["trial"] - 1]
    highest = [float(row["best_so_far"]) for row in rows]
    assert highest == sorted(highest)


def contender(table):
    """Return the number of the trial that ran again beside the first one."""
    again = [row for row in csv.DictReader(table.splitlines()) if row["outcome"] == "another seed"]
    assert next(row["trial"] for row in again) == "1"
    (found,) = {int(row["trial"]) for row in again} - {1}
    return found


@pytest.mark.parametrize(("gain", "taken"), [(0, True), (-0.05, False), (-0.1, False)])
def test_the_first_trial_is_kept_unless_another_seed_shows_a_clear_gain(search, gain, taken):
    number = contender(search.run("before", trials=9)[1])
    search.gains, search.again = {number: gain}, []
    written, _ = search.run("after", trials=9)
    found = json.loads(written)
    assert found["trial"] == (number if taken else 1)
    assert (found["gain"] > 2 * found["gain_error"] > 0) == taken
    assert search.again == [search.tried[0], search.tried[number - 1]]


@pytest.mark.parametrize(("failing", "taken"), [("first", "found"), ("found", "first"), ("both", "first")])
def test_a_trial_that_fails_with_another_seed_is_not_taken(search, failing, taken):
    number = contender(search.run("before", trials=9)[1])
    search.fail_at = {"first": (-1,), "found": (-number,), "both": (-1, -number)}[failing]
    found = json.loads(search.run("after", trials=9)[0])
    assert found["trial"] == {"first": 1, "found": number}[taken]
    assert "gain" not in found


def test_where_no_trial_is_better_none_runs_again(search):
    search.fail_at = range(2, 9)
    found = json.loads(search.run(trials=6)[0])
    assert (found["trial"], search.again) == (1, [])


def test_where_the_first_trial_fails_the_best_one_is_taken(search):
    search.fail_at = (1,)
    written, table = search.run(trials=6)
    rows = list(csv.DictReader(table.splitlines()))
    best = max((row for row in rows if row["outcome"] == "finished"), key=lambda row: float(row["accuracy"]))
    assert (json.loads(written)["trial"], search.again) == (int(best["trial"]), [])


def test_a_larger_network_must_pay(search, tiny):
    """Twice the multiplications must gain the price."""
    space = tiny.tune.space.model_copy(update={"width": [4, 16]})
    points = {"small": {**proposals._start(space, tiny.train.model_copy(update={"width": 4}))}}
    points["large"] = {**points["small"], "width": 1}
    scores = {}
    for price in (0.0, 0.01):
        params = tiny.tune.model_copy(update={"space": space, "price": price})
        train = tiny.train.model_copy(update={"width": 4})
        runtime = Runtime(torch.device("cpu"), bfloat16=False)
        for name, point in points.items():
            trial = trial_run.run(1, point, [], params, train, search.made.prepared, runtime, "search")
            scores[name, price] = trial.score
    data = arrays.load(search.made.prepared)
    small, large = (multiplications(len(data.info.attributes), data.info.shape, width) for width in (4, 16))
    assert large > 4 * small
    assert scores["large", 0.0] == scores["small", 0.0] == scores["small", 0.01]
    assert scores["small", 0.01] - scores["large", 0.01] == pytest.approx(0.01 * math.log2(large / small))


def trained(number, accuracies, right=None, price=0.0):
    return Trial(
        number,
        {},
        {},
        accuracies,
        stopped=False,
        seconds=1.0,
        price=price,
        right="" if right is None else trials.packed(right),
    )


def test_of_trials_that_are_equal_the_first_is_kept():
    """Ten trials of equal networks: each image is as hard for all, and each network errs by itself."""
    random, kept, searches, images, attributes = np.random.default_rng(1), 0, 1000, 1000, 40
    for _ in range(searches):
        hard = random.beta(9, 1, (images, 1))
        right = [random.binomial(attributes, hard[:, 0]) for _ in range(12)]
        accuracies = [float(one.mean() / attributes) for one in right]
        done = [trained(number, [accuracies[number]]) for number in range(10)]
        found = trials.contest(done)
        for one, images_right in zip(found, right[10:], strict=False):
            done.append(trained(trials.AGAIN + one.number, [0.9], images_right))
        kept += trials.choose(done, attributes)[0].number == 0
    assert kept / searches >= 0.95


def test_the_gain_is_taken_image_by_image():
    right = np.array([40, 20, 30, 10])
    one, other = trained(0, [0.6], right), trained(1, [0.6], right + np.array([1, 1, 2, 2]), price=0.01)
    found = trials.gain(one, other, 40)
    assert found.mean == pytest.approx(1.5 / 40 - 0.01)
    assert found.error == pytest.approx(np.std([1, 1, 2, 2], ddof=1) / 40 / 2)
    assert found.clear


@pytest.mark.parametrize("killed_at", [1, 2, 6, 9])
def test_a_killed_search_goes_on_as_if_it_had_not_been(search, killed_at):
    whole = search.run("whole", trials=9)
    tried, search.tried = search.tried, []
    search.kill_at = killed_at
    with pytest.raises(KeyboardInterrupt):
        search.run("resumed", trials=9)
    assert not (search.home / "resumed").exists()
    search.kill_at = None
    assert search.run("resumed", trials=9) == whole
    assert search.tried == tried, "no trial is repeated"


def test_a_finished_search_leaves_no_checkpoint(search):
    search.run(trials=2)
    assert not list((search.home / "home/checkpoints").iterdir())


def test_other_parameters_begin_another_search(search, tiny):
    search.kill_at = 3
    with pytest.raises(KeyboardInterrupt):
        search.run(trials=4)
    search.kill_at, search.tried = None, []
    search.run(trials=4, seed=99)
    assert len(search.tried) == 4


def test_bad_trials_stop_early_and_never_win(search):
    _, table = search.run(trials=15)
    rows = list(csv.DictReader(table.splitlines()))
    stopped = [row for row in rows if row["outcome"] == "stopped early"]
    assert stopped
    assert all(row["epochs"] == "1" for row in stopped)
    assert all(row["outcome"] == "finished" for row in rows[:3])


def test_a_failed_trial_is_noted_and_the_search_goes_on(search):
    search.fail_at = (2, 3)
    _, table = search.run(trials=8)
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["outcome"] for row in rows[:3]] == ["finished", "failed", "failed"]
    assert rows[1]["accuracy"] == ""
    assert len(rows) == 8 + 2


def test_a_search_whose_trials_all_fail(search):
    search.fail_at = range(99)
    with pytest.raises(SearchError, match="all 3 trials failed; the last one: the loss is no"):
        search.run(trials=3)


def test_minutes_end_it_also_across_a_resumption(search, monkeypatch):
    clock = iter(range(0, 100_000, 20))  # each trial takes twenty seconds
    monkeypatch.setattr(trial_run.time, "monotonic", lambda: next(clock))
    search.kill_at = 2
    with pytest.raises(KeyboardInterrupt):
        search.run(trials=50, minutes=1.0)
    search.kill_at = None
    _, table = search.run(trials=50, minutes=1.0)
    assert len(table.splitlines()) == 1 + 3


def test_a_real_search(tiny, made, home):
    params = tiny.tune.model_copy(update={"trials": 2, "epochs": 1})
    out = home / "search"
    tune.tune(params, tiny.train, made.prepared, out / "best.json", out / "trials.csv", out / "search.json")
    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert [row["outcome"] for row in rows] == ["finished", "finished"]
    assert 0 < float(rows[0]["accuracy"]) < 1
    assert set(hyperparameters.read(out / "best.json")) == set(SEARCHED)


def test_trials_survive_being_saved(tmp_path):
    trial = Trial(0, {"width": 1.0}, {"width": 24}, [0.1, 1 / 3], False, 1.5)
    trials.save(tmp_path / "trials.json", [trial])
    assert trials.load(tmp_path / "trials.json") == [trial]
    assert dataclasses.asdict(trial)["accuracies"][1] == 1 / 3


@pytest.fixture
def threads(monkeypatch):
    """Trials beside each other in threads, where the formula takes the place of their trainings."""
    monkeypatch.setattr(tune, "ProcessPoolExecutor", lambda number, **_: ThreadPoolExecutor(number))


def test_trials_beside_each_other_have_the_same_result_whichever_ends_first(search, threads):
    search.delay = lambda number: 0.05 * (number % 3)
    one = search.run("one", trials=9, parallel=3)
    search.delay = lambda number: 0.05 * (2 - number % 3)
    assert search.run("other", trials=9, parallel=3) == one
    assert search.run("alone", trials=9) != one
    found = [row["trial"] for row in csv.DictReader(one[1].splitlines()) if row["outcome"] != "another seed"]
    assert found == [str(n) for n in range(1, 10)]


@pytest.mark.parametrize("killed_at", [1, 2, 5, 9])
def test_a_killed_round_goes_on_with_the_trials_that_it_lacks(search, threads, killed_at):
    whole = search.run("whole", trials=9, parallel=4)
    search.tried, search.kill_at = [], killed_at
    with pytest.raises(KeyboardInterrupt):
        search.run("resumed", trials=9, parallel=4)
    search.kill_at = None
    assert search.run("resumed", trials=9, parallel=4) == whole


@pytest.mark.parametrize(("parallel", "order"), [(1, range(9)), (3, (2, 0, 1, 4, 5, 3, 8, 6, 7))])
def test_trials_that_ran_elsewhere_make_the_search_of_one_machine(search, threads, parallel, order):
    here = search.run("here", trials=9, parallel=parallel)
    search.tried = []
    search.run_elsewhere(order, trials=9, parallel=parallel)
    assert len(search.tried) == 9
    assert search.run("elsewhere", trials=9, parallel=parallel) == here
    assert len(search.tried) == 9, "the stage runs none again"
    if parallel == 1:
        assert [round(values["learning_rate"], 9) for values in search.tried] == SEQUENCE


def test_the_stage_runs_the_trials_that_it_lacks(search, threads):
    here = search.run("here", trials=9, parallel=3)
    search.run_elsewhere([1, 0, 2, 5], trials=9, parallel=3)
    search.tried = []
    assert search.run("elsewhere", trials=9, parallel=3) == here
    assert len(search.tried) == 9 - 4


def test_trials_of_another_search_do_not_count(search, threads):
    search.run_elsewhere(range(3), trials=3, parallel=3, seed=99)
    search.tried = []
    assert search.run_elsewhere([3], trials=4, parallel=3) == {}, "it lacks those of its own first round"
    search.run(trials=3, parallel=3)
    assert len(search.tried) == 3


def test_a_trial_that_the_search_does_not_have_runs_nowhere(search, monkeypatch):
    assert search.run_elsewhere([3], trials=3, parallel=4) == {}
    clock = iter(range(0, 100_000, 40))  # each trial takes forty seconds
    monkeypatch.setattr(trial_run.time, "monotonic", lambda: next(clock))
    search.run_elsewhere([0, 1], trials=9, parallel=2, minutes=0.5)
    assert len(search.tried) == 2
    assert search.run_elsewhere([2], trials=9, parallel=2, minutes=0.5) == {}
    assert len(search.tried) == 2


@pytest.mark.long
def test_a_killed_trial_goes_on_after_its_last_epoch(tiny, made, home, monkeypatch):
    params, out = tiny.tune.model_copy(update={"epochs": 3}), home / "trial.json"

    def run():
        trial_run.run_alone(0, params, tiny.train, home / "none.json", out, made.prepared)
        return {**json.loads(out.read_text())["trial"], "seconds": 0}

    whole, real, epochs = run(), loop.batches, []

    def batches(part, options, epoch, *rest):
        epochs.append(epoch)
        if epochs == [0, 1]:
            raise KeyboardInterrupt
        return real(part, options, epoch, *rest)

    monkeypatch.setattr(loop, "batches", batches)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert run() == whole
    assert epochs == [0, 1, 1, 2]
    assert not list((home / "home/checkpoints").iterdir())


def finished(number, tiny, accuracy):
    point = {"learning_rate": 0.001 * (number + 1), "weight_decay": 0.01, "dropout": 0.2, "width": 0.0}
    point["augmentation"] = 0.5 + number / 10
    return Trial(number, point, proposals.values(point, tiny.tune.space), [accuracy], False, 1.0)


def test_points_of_a_round_differ(tiny):
    earlier = [finished(number, tiny, 0.8 + number / 100) for number in range(7)]
    points = proposals.propose(earlier, 7, 4, tiny.tune.space, tiny.train, seed=1)
    assert len({tuple(point.values()) for point in points}) == 4
    again = proposals.propose(earlier, 7, 2, tiny.tune.space, tiny.train, seed=1)
    assert again == points[:2], "a shorter last round begins alike"


def test_a_trial_beside_another_changes_what_is_proposed(tiny):
    """The estimator gets an assumed result for it."""
    earlier = [finished(number, tiny, 0.8 + number / 100) for number in range(7)]
    space, train = tiny.tune.space, tiny.train
    second = proposals.propose(earlier, 7, 2, space, train, seed=1)[1]
    without = proposals._suggest(earlier, space, np.random.default_rng([1, 8]))
    assert second != without


def test_the_time_of_a_round_is_that_of_its_longest_trial():
    took = [Trial(number, {}, {}, [0.5], False, seconds) for number, seconds in enumerate([3, 5, 2, 1, 4])]
    assert trials.seconds(took, 1) == 15
    assert trials.seconds(took, 2) == 5 + 2 + 4


def test_one_trial_at_a_time_is_the_sequence_of_earlier_releases(search):
    """Computed with the search of the release before trials could run beside each other."""
    search.run(trials=9)
    rates = [round(values["learning_rate"], 9) for values in search.tried]
    assert rates == SEQUENCE


@pytest.mark.long
def test_real_trials_beside_each_other(tiny, made, home):
    results = []
    for folder in ("one", "two"):
        params = tiny.tune.model_copy(update={"trials": 4, "epochs": 1, "parallel": 2})
        out = home / folder
        tune.tune(
            params, tiny.train, made.prepared, out / "best.json", out / "trials.csv", out / "search.json"
        )
        results.append((out / "trials.csv").read_text())
    assert results[0] == results[1]
    alone = tiny.tune.model_copy(update={"trials": 2, "epochs": 1})
    tune.tune(alone, tiny.train, made.prepared, home / "best.json", home / "trials.csv", home / "search.json")
    header_and_trials = (home / "trials.csv").read_text().splitlines()[:3]
    assert results[0].splitlines()[:3] == header_and_trials, "a process changes no trial"


@pytest.mark.long
def test_a_lost_process_of_the_search(tiny, made, home):
    params = tiny.tune.model_copy(update={"trials": 4, "epochs": 400, "images": 10, "parallel": 2})
    ended = threading.Event()
    others = psutil.Process().children()

    def kill():
        def workers():
            found = [one for one in psutil.Process().children() if one not in others]
            return [one for one in found if "spawn_main" in str(one.cmdline())]

        wait_for(lambda: len(workers()) == 2, seconds=100)
        workers()[0].kill()
        ended.set()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(SearchError, match="a process of the search was lost; run the stage tune again"):
        tune.tune(params, tiny.train, made.prepared, *(home / name for name in ("a.json", "b.csv", "c.json")))
    killer.join()
    assert ended.is_set()


def test_a_value_at_the_end_of_the_space_is_inside_of_it(tiny):
    """The exponential of the logarithm of 10 is more than 10, which no training takes."""
    interval = tiny.tune.space.weight_decay.model_copy(update={"low": 9.999999999999998, "high": 10.0})
    space = tiny.tune.space.model_copy(update={"weight_decay": interval})
    train = tiny.train.model_copy(update={"weight_decay": 10.0})
    (point,) = proposals.propose([], 0, 1, space, train, seed=1)
    assert np.exp(np.log(10.0)) > 10
    for weight_decay in (np.log(interval.low), np.log(10.0), np.exp(np.log(10.0))):
        found = proposals.values(point | {"weight_decay": float(weight_decay)}, space)
        assert interval.low <= found["weight_decay"] <= 10


def test_the_narrowest_interval_is_searched(tiny):
    low, high = 0.002, 0.0020000000000000005
    assert np.log(low) == np.log(high)
    interval = tiny.tune.space.learning_rate.model_copy(update={"low": low, "high": high})
    space = tiny.tune.space.model_copy(update={"learning_rate": interval})
    train = tiny.train.model_copy(update={"learning_rate": low})
    for point in proposals.propose([], 0, 3, space, train, seed=1):
        assert low <= proposals.values(point, space)["learning_rate"] <= high
