import csv
import dataclasses
import json

import numpy as np
import pytest

from face_attributes.common.errors import SearchError
from face_attributes.params import SEARCHED
from face_attributes.training import hyperparameters, loop, tune


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAGE_HOME", str(tmp_path / "home"))
    return tmp_path


class Search:
    """Runs searches whose trainings are replaced by a formula, and notes what was tried."""

    def __init__(self, tiny, made, home, monkeypatch):
        self.tiny, self.made, self.home = tiny, made, home
        self.tried = []
        self.fail_at = ()
        self.kill_at = None
        monkeypatch.setattr(tune, "fit", self.fit)

    def fit(self, train, validation, params, runtime, *, keep_going, description):
        number = len(self.tried) + 1
        if number == self.kill_at:
            raise KeyboardInterrupt
        self.tried.append({name: getattr(params, name) for name in SEARCHED})
        if number in self.fail_at:
            raise SearchError("the loss is no longer a number")
        score = 0.9 - abs(np.log10(params.learning_rate) + 2.5) / 20 - params.dropout / 50
        for epoch in range(1, params.epochs + 1):
            if not keep_going(loop.Epoch(epoch, 0.5, 0.5, score - 0.1 / epoch)):
                break

    def run(self, folder="search", **changes):
        params = self.tiny.tune.model_copy(update=changes)
        out = self.home / folder
        tune.tune(params, self.tiny.train, self.made.prepared, out / "best.json", out / "trials.csv")
        return (out / "best.json").read_text(), (out / "trials.csv").read_text()


@pytest.fixture
def search(tiny, made, home, monkeypatch):
    return Search(tiny, made, home, monkeypatch)


def test_the_first_trial_is_what_the_parameters_say(search, tiny):
    search.run(trials=1)
    assert search.tried == [{name: getattr(tiny.train, name) for name in SEARCHED}]


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
    assert found["trials"] == len(rows) == 12
    assert f"{found['learning_rate']:.6g}" == winner["learning_rate"]
    assert hyperparameters.read(search.home / "search/best.json") == search.tried[found["trial"] - 1]
    highest = [float(row["best_so_far"]) for row in rows]
    assert highest == sorted(highest)


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
    assert len(rows) == 8


def test_a_search_whose_trials_all_fail(search):
    search.fail_at = range(99)
    with pytest.raises(SearchError, match="all 3 trials failed; the last one: the loss is no"):
        search.run(trials=3)


def test_minutes_end_it_also_across_a_resumption(search, monkeypatch):
    clock = iter(range(0, 100_000, 20))  # each trial takes twenty seconds
    monkeypatch.setattr(tune.time, "monotonic", lambda: next(clock))
    search.kill_at = 2
    with pytest.raises(KeyboardInterrupt):
        search.run(trials=50, minutes=1.0)
    search.kill_at = None
    _, table = search.run(trials=50, minutes=1.0)
    assert len(table.splitlines()) == 1 + 3


def test_a_real_search(tiny, made, home):
    params = tiny.tune.model_copy(update={"trials": 2, "epochs": 1})
    out = home / "search"
    tune.tune(params, tiny.train, made.prepared, out / "best.json", out / "trials.csv")
    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert [row["outcome"] for row in rows] == ["finished", "finished"]
    assert 0 < float(rows[0]["accuracy"]) < 1
    assert set(hyperparameters.read(out / "best.json")) == set(SEARCHED)


def test_trials_survive_being_saved(tmp_path):
    trial = tune.Trial(0, {"width": 1.0}, {"width": 24}, [0.1, 1 / 3], False, 1.5)
    tune._save(tmp_path / "trials.json", [trial])
    assert tune._load(tmp_path / "trials.json") == [trial]
    assert dataclasses.asdict(trial)["accuracies"][1] == 1 / 3
