import json

from dashboard import model_card, running
from dashboard.environment_paths import EnvironmentPaths
from gitops.model.metrics import Interval
from tests.dashboard.world import World, trained
from tests.support.figures import ATTRIBUTES


def read(world: World, commit: str) -> model_card.ModelCard:
    world.serve()
    return model_card.read(running.repository(EnvironmentPaths.here()), commit)


def test_a_models_card(world: World) -> None:
    commit = world.lab.land(trained("first", 0.91) | {"data/labelled/monday.parquet.dvc": b"outs: []\n"})
    found = read(world, commit)
    assert found.figures.means["mean_accuracy"] == Interval(0.91, 0.908, 0.912)
    assert found.figures.means["majority_accuracy"].value == 0.8
    assert {row.name for row in found.attributes} == set(ATTRIBUTES)
    assert [row.accuracy.value for row in found.attributes] == sorted(
        row.accuracy.value for row in found.attributes
    )
    assert all(row.majority for row in found.attributes)
    assert len(found.slices) == 5
    assert all(row.count >= 30 for row in found.slices), "a handful of images says nothing"
    assert dict(found.parameters)["profile"] == "full"
    assert dict(found.parameters)["data.synthetic.count"] == "7000"
    assert dict(found.data)["source"] == "synthetic"
    assert dict(found.data)["training images"] == "6,418"
    assert dict(found.data)["labelled batches appended"] == "1"
    assert [(gap.attribute, gap.group) for gap in found.served_worst] == [("Big_Nose", "not Male")]
    assert len(dict(found.data)["model file (MD5 in dvc.lock)"]) == 32


def test_a_release_without_a_model(world: World) -> None:
    found = read(world, world.lab.tip)
    assert not found.figures
    assert (found.attributes, found.slices) == ((), ())


def test_figures_that_are_damaged_are_named(world: World) -> None:
    files = trained("first") | {"metrics/performance.json": b"{", "params.yaml": b"a: [", "dvc.lock": b"["}
    found = read(world, world.lab.land(files))
    assert list(found.figures.damaged) == ["metrics/performance.json"]
    assert found.parameters == (("(cannot be read)", "did not find expected node content"),)
    files["metrics/evaluation.json"] = json.dumps({"mean_accuracy": 1e400, "slices": 3}).encode()
    found = read(world, world.lab.land(files))
    assert not found.figures
    assert found.figures.damaged["metrics/evaluation.json"] == "profile: Field required"
