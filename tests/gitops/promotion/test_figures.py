"""Nobody gets a model past the gates by its figures, its decisions, or their records in `dvc.lock`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitops.errors import ComparisonError
from gitops.gates.comparison import Comparison
from gitops.gates.comparison import parse as comparison
from gitops.gates.gates import judge
from gitops.git.workspace import Origin
from gitops.model import metrics
from gitops.paths import DECISIONS, EVALUATION, EXPORT, FORGOTTEN
from gitops.promotion.evidence import Evidence
from gitops.promotion.merge import check
from gitops.release.settings import load
from gitops.release.snapshot import Snapshot
from gitops.training import candidate
from tests.gitops.gates.test_recorded import NAMES, answers, content, population
from tests.support.figures import COMPARISON, md5, model_files, model_md5
from tests.support.lab import PIPELINE as EXPORT_ALONE
from tests.support.lab import Lab

HOLDOUT, OTHER = "a" * 32, "b" * 32
PIPELINE = b"""stages:
  prepare: {cmd: x, outs: [data/holdout.parquet]}
  export: {cmd: x, outs: [models/model.onnx]}
  evaluate:
    cmd: x
    deps: [data/holdout.parquet, models/model.onnx]
    outs: [{metrics/decisions.json: {cache: false}}, {metrics/evaluation.json: {cache: false}},
           {metrics/export.json: {cache: false}}]
"""
TRUTH = population(1, 2000)
GOOD, EQUAL, BAD = answers(TRUTH, 3, 0.06), answers(TRUTH, 5, 0.06), answers(TRUTH, 4, 0.10)
ALL = np.arange(len(TRUTH))


def lock(files: dict[str, bytes], model: str, holdout: str = HOLDOUT) -> bytes:
    def records(*pairs: tuple[str, str]) -> str:
        return "".join(f"    - {{path: {path}, md5: {digest}}}\n" for path, digest in pairs)

    model_file, images = ("models/model.onnx", model), ("data/holdout.parquet", holdout)
    figures = [(path, md5(files[path])) for path in (DECISIONS, *metrics.PATHS) if path in files]
    return (
        f"schema: '2.0'\nstages:\n  prepare:\n    cmd: x\n    outs:\n{records(images)}"
        f"  export:\n    cmd: x\n    outs:\n{records(model_file)}"
        f"  evaluate:\n    cmd: x\n    deps:\n{records(images, model_file)}    outs:\n{records(*figures)}"
    ).encode()


def training(
    name: str,
    decided: np.ndarray,
    images: np.ndarray = ALL,
    holdout: str = HOLDOUT,
    truth: np.ndarray = TRUTH,
) -> dict[str, bytes]:
    """The files that a training leaves in git, evaluated on some of the images."""
    truth, decided = truth[images], decided[images]
    files = model_files(name, 1 - float((decided ^ truth).mean()), samples=len(truth), attributes=NAMES)
    digest = json.loads(files[EVALUATION])["model_sha256"]
    files[DECISIONS] = content(truth, decided, model=digest, md5=holdout, numbers=images)
    return files | {"dvc.lock": lock(files, model_md5(name), holdout), "dvc.yaml": PIPELINE}


def changed(files: dict[str, bytes], path: str, **changes: Any) -> dict[str, bytes]:
    """The files with another JSON file, recorded as a training would."""
    edited = files | {path: json.dumps(json.loads(files[path]) | changes).encode()}
    model = files["dvc.lock"].partition(b"model.onnx, md5: ")[2][:32].decode()
    return edited | {"dvc.lock": lock(edited, model)}


def found(lab: Lab, head: str, compare: Any = None) -> list[str]:
    state = lab.state()
    commit = lab.clone.resolve(lab.clone.branch_ref(lab.remote, head))
    judged = check(lab.clone, state, commit, Evidence.of(lab.clone, compare=compare))
    return list(map(str, judged.findings))


def as_good(
    model: Snapshot, incumbent: Snapshot, *, images: Snapshot | None = None, refresh: bool = False
) -> Comparison:
    """A comparison of two models that finds no difference worth a gate."""
    cell = {"positives": 1000, "negatives": 1000, "found": 900, "false": 100}
    cell |= {f"incumbent_{one}": cell[one] for one in ("found", "false")}
    cell |= dict.fromkeys(("lost", "gained", "spoilt", "mended"), 5)
    half = {name: value // 2 for name, value in cell.items()}
    groups = {
        "all images": {"by": "all", "per_attribute": {"Smiling": cell}},
        "Male": {"by": "Male", "per_attribute": {"Smiling": half}},
    }
    answered = COMPARISON | {"format": 4, "groups": groups, "contradictions": 0}
    answered |= {"model_sha256": model.model, "incumbent_sha256": incumbent.model}
    answered["latency"] = {name: one | {"ratio": 1.0} for name, one in COMPARISON["latency"].items()}
    return comparison(json.dumps(answered).encode(), "x")


@pytest.fixture
def runs(lab: Lab) -> dict[str, bytes]:
    """The files of a model that runs and is verified."""
    files = training("a", GOOD)
    lab.branch("a", files)
    lab.verify("dev", lab.merge("a"), accuracy=0.94)
    return files


def test_a_model_as_good_passes_and_a_worse_one_does_not(lab: Lab, runs: dict[str, bytes]) -> None:
    lab.branch("equal", training("equal", EQUAL))
    assert found(lab, "equal") == found(lab, "equal", as_good) == []
    lab.branch("bad", training("bad", BAD))
    assert any("no worse than the incumbent" in one for one in found(lab, "bad"))


def easy() -> np.ndarray:
    """Images about which the bad model errs as rarely as the good one does about all."""
    wrong = (BAD ^ TRUTH).any(axis=1)
    right = np.flatnonzero(~wrong)
    return np.sort(np.concatenate([right, np.flatnonzero(wrong)[: len(right) // 20]]))


@pytest.mark.parametrize("compare", [None, as_good])
def test_a_hold_out_set_loses_no_images_beside_the_same_model(
    lab: Lab, runs: dict[str, bytes], compare: Any
) -> None:
    lab.branch("smaller", training("a", GOOD, easy(), OTHER))
    [line] = found(lab, "smaller", compare)
    assert line.startswith("data/holdout.parquet: lacks 459 of main's images, beside the same model")


def test_a_hold_out_set_may_grow_beside_the_same_model(lab: Lab) -> None:
    lab.verify("dev", lab.land(training("a", GOOD, ALL[:1500])), accuracy=0.94)
    lab.branch("grown", training("a", GOOD, ALL, OTHER))
    assert found(lab, "grown") == found(lab, "grown", as_good) == []


def test_a_model_is_compared_on_each_of_its_hold_out_sets(lab: Lab) -> None:
    commits = [
        lab.land(training("a", GOOD)),
        lab.land(training("a", GOOD, easy(), OTHER)),
        lab.commit(training("bad", BAD, easy(), OTHER)),
    ]
    lab.clone.git("fetch", "--quiet", lab.remote)
    lab.origin.git("update-ref", "refs/heads/bad", commits[2])
    lab.clone.git("fetch", "--quiet", lab.remote, "bad")
    best, incumbent, model = (Snapshot.load(lab.clone, commit) for commit in commits)
    asked: list[str | None] = []

    def compare(model: Snapshot, incumbent: Snapshot, *, images: Snapshot | None = None, **_: bool) -> Any:
        asked.append((images or model).holdout)
        return as_good(model, incumbent)

    judge(model, incumbent, load("dev"), compare, best, decisions=Evidence.of(lab.clone).decisions)
    assert asked == [OTHER, OTHER, HOLDOUT]


def forgetting(images: int, *objects: str) -> bytes:
    """The list of forgotten photographs, with the first images of the hold-out set."""
    photographs = [f"{image:016x}{'0' * 48}" for image in range(images)]
    content = {"format": 1, "photographs": photographs, "fingerprints": [], "objects": objects}
    return json.dumps(content).encode()


def gone(model: Snapshot, incumbent: Snapshot, *, images: Snapshot | None = None, **_: bool) -> Comparison:
    """A comparison whose DVC remote has lost the hold-out set of the incumbent."""
    if (images or model).holdout == HOLDOUT:
        raise ComparisonError("the DVC remote has no such object")
    return as_good(model, incumbent)


@pytest.mark.parametrize("compare", [None, gone])
@pytest.mark.parametrize(("name", "decided"), [("a", GOOD), ("equal", EQUAL)])
def test_a_release_follows_an_erasure(
    lab: Lab, runs: dict[str, bytes], name: str, decided: np.ndarray, compare: Any
) -> None:
    """The hold-out set of the incumbent is gone, and the next one lacks the photographs."""
    lab.land({FORGOTTEN: forgetting(2, HOLDOUT)})
    lab.branch("b", training(name, decided, ALL[2:], OTHER))
    assert found(lab, "b", compare) == []
    # Images that nobody asked to forget are still images that a model lost
    lab.branch("c", training(name, decided, ALL[3:], OTHER))
    [line] = found(lab, "c", compare)
    assert ("1 of the 1998 images" if name == "equal" else "lacks 1 of main's images") in line


@pytest.mark.parametrize("remote", [True, False])
def test_a_training_may_be_proposed_after_an_erasure(
    lab: Lab, runs: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    incumbent = lab.tip
    lab.land({FORGOTTEN: forgetting(2, HOLDOUT)})
    commit = lab.branch("run/b", training("equal", EQUAL, ALL[2:], OTHER))
    if remote:
        monkeypatch.setattr(candidate, "Comparer", lambda *_: gone)
    folders = {"home": tmp_path / "spaces", "cache": tmp_path / "cache"}
    rows = candidate.judge(Origin(str(lab.origin.path)), commit, incumbent, "dev", **folders)
    assert [str(row) for row in rows if not row.ok] == []


def test_images_that_a_change_itself_forgets_are_asked_for_and_named(
    lab: Lab, runs: dict[str, bytes]
) -> None:
    kept = set(easy().tolist())
    photographs = [f"{image:016x}{'0' * 48}" for image in range(len(TRUTH)) if image not in kept]
    listed = {"format": 1, "photographs": photographs, "fingerprints": [], "objects": [HOLDOUT]}
    change = {FORGOTTEN: json.dumps(listed).encode()}
    lab.branch("b", training("b", EQUAL, easy(), OTHER) | change)
    asked: list[str | None] = []

    def compare(model: Snapshot, incumbent: Snapshot, *, images: Snapshot | None = None, **_: bool) -> Any:
        asked.append((images or model).holdout)
        return as_good(model, incumbent)

    found(lab, "b", compare)
    assert HOLDOUT in asked, "the DVC remote still has it"
    state = lab.state()
    commit = lab.clone.resolve(lab.clone.branch_ref(lab.remote, "b"))
    judged = check(lab.clone, state, commit, Evidence.of(lab.clone))
    assert any("459 forgotten images are left out" in row.limit for row in judged.gates["dev"])


def test_a_worse_model_does_not_hide_behind_an_erasure(lab: Lab, runs: dict[str, bytes]) -> None:
    lab.land({FORGOTTEN: forgetting(2, HOLDOUT)})
    lab.branch("bad", training("bad", BAD, ALL[2:], OTHER))
    assert any("no worse than the incumbent" in one for one in found(lab, "bad", gone))


def test_dvc_lock_names_the_model_that_the_figures_are_about(lab: Lab, runs: dict[str, bytes]) -> None:
    lab.branch("swapped", {"dvc.lock": lock(runs, model_md5("bad"))})
    [line] = found(lab, "swapped")
    assert line.startswith("dvc.lock: records another models/model.onnx than metrics/evaluation.json")


def test_dvc_yaml_alone_chooses_no_other_record(lab: Lab, runs: dict[str, bytes]) -> None:
    idle = f"  idle:\n    cmd: x\n    outs:\n    - {{path: model.onnx, md5: {model_md5('bad')}}}\n"
    lab.branch("one", {"dvc.lock": runs["dvc.lock"] + idle.encode()})
    lab.merge("one")
    moved = PIPELINE.replace(b"export: {cmd: x,", b"export: {cmd: x, wdir: other,")
    lab.branch("two", {"dvc.yaml": moved + b"  idle: {cmd: x, wdir: models}\n"})
    assert any("records another models/model.onnx" in one for one in found(lab, "two"))


@pytest.mark.parametrize("path", [EVALUATION, EXPORT])
@pytest.mark.parametrize(
    "record", ["", "{path: %s, md5: null}", "{path: /%s, md5: %s}", "{path: %s, md5: [x]}"]
)
def test_a_figure_does_not_lose_its_record(lab: Lab, runs: dict[str, bytes], path: str, record: str) -> None:
    line = f"    - {{path: {path}, md5: {md5(runs[path])}}}\n"
    new = record.replace("%s", path, 1).replace("%s", md5(runs[path]))
    assert line.encode() in runs["dvc.lock"]
    rest = runs["dvc.lock"].replace(line.encode(), f"    - {new}\n".encode() if new else b"")
    lab.branch("edited", {path: runs[path] + b" ", "dvc.lock": rest})
    assert any(one.startswith(f"{path}: has no record in dvc.lock") for one in found(lab, "edited"))


def test_a_figure_that_no_stage_makes_any_more_may_go(lab: Lab) -> None:
    files = training("a", GOOD) | {"metrics/groups.json": b'{"format": 1}'}
    lab.land(files | {"dvc.lock": lock(files, model_md5("a"))})
    del files["metrics/groups.json"]
    gone: dict[str, bytes | None] = {"metrics/groups.json": None, "dvc.lock": lock(files, model_md5("a"))}
    lab.branch("gone", gone)
    assert found(lab, "gone") == []


@pytest.mark.parametrize("compare", [None, as_good])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_sha256": "0" * 64}, "are those of another model"),
        ({"holdout_md5": "0" * 32}, "are about another hold-out set"),
        ({"slices": {"all images": {"by": "x", "images": ""}}}, "not a bit for each of 2000 images"),
        ({"attributes": {}}, "attributes: Dictionary should have at least 1 item"),
    ],
)
def test_decisions_belong_to_their_model_wherever_it_is_compared(
    lab: Lab, runs: dict[str, bytes], compare: Any, changes: dict[str, Any], says: str
) -> None:
    lab.branch("b", changed(training("b", EQUAL), DECISIONS, **changes))
    assert any(says in one for one in found(lab, "b", compare))


def test_a_slice_is_not_called_like_all_images(lab: Lab) -> None:
    files = training("a", GOOD)
    slices = json.loads(files[DECISIONS])["slices"]
    lab.branch("a", changed(files, DECISIONS, slices=slices | {"all images": slices["Male"]}))
    [line] = found(lab, "a")
    assert "slices: 'all images' is no part of the images" in line


@pytest.mark.parametrize("of", [DECISIONS, EVALUATION])
def test_no_attribute_is_left_out_of_one_file(lab: Lab, of: str) -> None:
    decided = EQUAL.copy()
    decided[:, NAMES.index("Smiling")] = False
    files = training("a", decided)
    others = [name for name in NAMES if name != "Smiling"]
    key = "attributes" if of == DECISIONS else "per_attribute"
    rows = json.loads(files[of])[key]
    accuracy = 1 - float((decided ^ TRUTH)[:, [NAMES.index(name) for name in others]].mean())
    if of == DECISIONS:
        files = changed(files, EVALUATION, mean_accuracy=accuracy)
    lab.branch("silent", changed(files, of, **{key: {name: rows[name] for name in others}}))
    assert any("not about the same attributes and slices: Smiling" in one for one in found(lab, "silent"))


def test_the_evaluation_is_about_as_many_images_as_the_decisions(lab: Lab) -> None:
    """Of few images, no attribute would be judged."""
    lab.branch("a", changed(training("a", GOOD), EVALUATION, samples=10))
    assert any("are about 2000 images, and the evaluation about 10" in one for one in found(lab, "a"))


def test_no_slice_is_left_out_of_the_decisions(lab: Lab) -> None:
    row = {"accuracy": 0.94, "count": 800, "by": "Male"}
    files = changed(training("a", GOOD), EVALUATION, slices={"Male": row})
    lab.branch("whole", files)
    assert found(lab, "whole") == []
    lab.branch("silent", changed(files, DECISIONS, slices={}))
    assert any("not about the same attributes and slices: Male" in one for one in found(lab, "silent"))


def test_dvc_lock_records_the_hold_out_set_of_the_figures(lab: Lab, runs: dict[str, bytes]) -> None:
    moved = {
        name: content.replace(b"data/holdout.parquet", b"data/moved.parquet")
        for name, content in training("b", EQUAL).items()
    }
    lab.branch("b", moved)
    assert any("records no data/holdout.parquet" in one for one in found(lab, "b"))


@pytest.mark.parametrize("recorded", [True, False])
def test_the_change_that_brings_decisions_has_them(lab: Lab, recorded: bool) -> None:
    lab.land({"dvc.yaml": EXPORT_ALONE})
    files = training("a", GOOD)
    if not recorded:
        rest = {path: file for path, file in files.items() if path != DECISIONS}
        files["dvc.lock"] = lock(rest, model_md5("a"))
    lab.branch("a", files | {DECISIONS: None})
    assert [line.partition(":")[0] for line in found(lab, "a")] == [DECISIONS]


@pytest.mark.parametrize("spelling", [b"${folder}/decisions.json", b"./metrics/decisions.json"])
def test_the_pipeline_keeps_its_decisions(lab: Lab, spelling: bytes) -> None:
    """A first model would come without them."""
    declared = PIPELINE.replace(b"metrics/decisions.json", b'"' + spelling + b'"')
    declared = b"vars: [{folder: metrics}]\n" + declared
    lab.land({"dvc.yaml": declared})
    lab.branch("renamed", {"dvc.yaml": PIPELINE})
    assert found(lab, "renamed") == []
    lab.branch("dropped", {"dvc.yaml": PIPELINE.replace(b"{metrics/decisions.json: {cache: false}}, ", b"")})
    [line] = found(lab, "dropped")
    assert line.startswith("dvc.yaml: no stage makes metrics/decisions.json any more")
    files = {path: file for path, file in training("a", GOOD).items() if path != DECISIONS}
    files |= {"dvc.lock": lock(files, model_md5("a")), "dvc.yaml": declared}
    lab.branch("without", files)
    assert [line.partition(":")[0] for line in found(lab, "without")] == [DECISIONS]


@pytest.mark.parametrize(
    ("export", "gate"),
    [
        ({"tolerance": 1e300, "max_difference": 1e200}, "ONNX equals PyTorch"),
        ({"max_accuracy_loss": 0.99, "accuracy_loss": 0.5}, "quantisation loss"),
    ],
)
def test_the_limits_of_the_export_are_those_of_the_parameters(
    lab: Lab, export: dict[str, float], gate: str
) -> None:
    lab.land({"params.yaml": b"profile: full\nexport: {tolerance: 0.001, max_accuracy_loss: 1e-3}\n"})
    files = training("a", GOOD)
    lab.branch("honest", files)
    assert found(lab, "honest") == []
    lab.branch("own", changed(files, EXPORT, **export))
    [line] = found(lab, "own")
    assert f"fails a gate: {gate}" in line


def test_an_edited_figure_of_a_new_model_is_not_restored_from_the_old_one(
    lab: Lab, runs: dict[str, bytes]
) -> None:
    files = training("b", EQUAL)
    lab.branch("b", files | {EVALUATION: files[EVALUATION] + b" "})
    [line] = found(lab, "b")
    assert "git checkout" not in line


MOVED = PIPELINE.replace(b"  evaluate:\n    cmd: x\n", b"  evaluate:\n    cmd: x\n    wdir: work\n")
MOVED = MOVED.replace(b"[data/holdout.parquet, models/", b"[../data/holdout.parquet, ../models/")
LOOP = b"""prepare:
    foreach: [holdout, sample]
    do: {cmd: x, outs: ['data/${item}.parquet']}"""


@pytest.mark.parametrize(
    "pipeline",
    [
        MOVED.replace(b"{metrics/", b"{../metrics/"),
        PIPELINE.replace(b"prepare: {cmd: x, outs: [data/holdout.parquet]}", LOOP),
        PIPELINE.replace(b"  evaluate:", b"  score:").replace(b"  export:", b"  convert:"),
        b"# A comment\n" + PIPELINE,
    ],
    ids=["wdir", "foreach", "renamed", "comment"],
)
def test_a_stage_may_move_without_a_training(lab: Lab, runs: dict[str, bytes], pipeline: bytes) -> None:
    lab.branch("moved", {"dvc.yaml": pipeline, "work/README": b"x"})
    assert found(lab, "moved") == []


def test_a_stage_that_is_removed_takes_its_figure_along(lab: Lab) -> None:
    """DVC leaves its record in `dvc.lock`."""
    card = b'{"format": 1}'
    record = f"  card:\n    cmd: x\n    outs:\n    - {{path: metrics/card.json, md5: {md5(card)}}}\n"
    files = training("a", GOOD) | {"metrics/card.json": card}
    files["dvc.lock"] += record.encode()
    lab.land(
        files | {"dvc.yaml": PIPELINE + b"  card: {cmd: x, outs: [{metrics/card.json: {cache: false}}]}\n"}
    )
    lab.branch("gone", {"metrics/card.json": None, "dvc.yaml": PIPELINE})
    assert found(lab, "gone") == []


def test_corrected_labels_beside_the_same_model_measure_the_next_one(lab: Lab) -> None:
    noisy, old = TRUTH.copy(), GOOD.copy()
    noisy[:300, 1] ^= True
    old[:300, 1] ^= True
    lab.verify("dev", lab.land(training("a", old, truth=noisy)), accuracy=0.94)
    lab.branch("corrected", training("a", old, holdout=OTHER))
    assert found(lab, "corrected") == []
    lab.verify("dev", lab.merge("corrected"), accuracy=1 - float((old ^ TRUTH).mean()))
    lab.branch("b", training("b", EQUAL, holdout=OTHER))
    assert found(lab, "b") == []


def test_another_source_does_not_hide_lost_images(lab: Lab, runs: dict[str, bytes]) -> None:
    parameters = b"profile: full\ndata: {source: celeba}\ntrain:\n  learning_rate: 0.1\n"
    lab.branch("b", training("a", GOOD, easy(), OTHER) | {"params.yaml": parameters})
    assert any("lacks 459 of main's images" in one for one in found(lab, "b"))


def test_a_model_that_came_back_is_promoted_on_another_hold_out_set(lab: Lab, runs: dict[str, bytes]) -> None:
    lab.release("staging")
    for name, decided in (("equal", EQUAL), ("a", GOOD)):
        lab.verify("dev", lab.land(training(name, decided, ALL[100:], OTHER)), accuracy=0.94)
    assert found(lab, lab.promote("staging").branch) == []


@pytest.mark.parametrize("repair", ["train", "restore"])
def test_main_that_names_another_model_is_repaired(lab: Lab, runs: dict[str, bytes], repair: str) -> None:
    lab.land({"dvc.lock": lock(runs, model_md5("equal"))})
    lab.branch("repair", training("equal", EQUAL) if repair == "train" else runs)
    assert found(lab, "repair") == []


def test_a_hold_out_set_grows_past_decisions_that_are_not_valid(lab: Lab) -> None:
    """Earlier code accepted them."""
    lab.land(changed(training("a", GOOD, ALL[:1500]), DECISIONS, model_sha256="0" * 64))
    lab.branch("grown", training("a", GOOD, ALL, OTHER))
    assert found(lab, "grown") == found(lab, "grown", as_good) == []
