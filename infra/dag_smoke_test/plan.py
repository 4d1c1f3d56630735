"""The runs of each DAG: a successful run, and a run with an injected failure."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dashboard import checks
from gitops.paths import EVALUATION, MAIN, PARAMETERS
from gitops.release.snapshot import Snapshot
from infra.dag_smoke_test.sandbox import CommandResult, Sandbox
from infra.local.errors import EngineError

BATCH = "smoke-test"
# A few more images than monitoring needs
_FACES = 120
_CLAIM = (EVALUATION, PARAMETERS)


@dataclass(frozen=True)
class Preparation:
    """The configuration of a run, and a check of its outcome: `found` describes it or raises LookupError."""

    conf: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    found: Callable[[CommandResult], str] = lambda _: ""


Prepare = Callable[[Sandbox, str], Preparation]


@dataclass(frozen=True)
class Plan:
    """The two runs of a DAG in an environment: successful and failing."""

    well: Prepare
    fault: Prepare


def train(sandbox: Sandbox, _environment: str) -> Preparation:
    """Train with the profile small. Afterwards, the branch of the run must contain a model."""
    before = set(sandbox.origin.branches("run/"))

    def found(_: CommandResult) -> str:
        made = [name for name in sandbox.origin.branches("run/") if name not in before]
        if not made:
            raise LookupError("no branch of the run")
        branch = made[0]
        accuracy = Snapshot.load(sandbox.origin.repository, f"refs/heads/{branch}").evaluation.mean_accuracy
        return f"a model with accuracy {accuracy:.3f}"

    return Preparation(conf={"profile": "small"}, found=found)


def train_from_nowhere(_sandbox: Sandbox, _environment: str) -> Preparation:
    """Train from a branch that does not exist."""
    return Preparation(
        conf={"profile": "small", "ref": "no-such-branch"},
        found=lambda result: _printed(result, "no-such-branch"),
    )


def score(sandbox: Sandbox, environment: str) -> Preparation:
    """Score a batch of drawn faces."""
    shutil.copytree(_faces(sandbox) / "img_align_celeba", _incoming(sandbox, environment) / BATCH)

    def found(result: CommandResult) -> str:
        if not _scored(sandbox, environment):
            raise LookupError("no file of scores")
        return _printed(result, f"{_FACES} images are scored")

    return Preparation(found=found)


def score_no_image(sandbox: Sandbox, environment: str) -> Preparation:
    """Score a batch without any usable image."""
    folder = _incoming(sandbox, environment) / "broken"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(b"not an image")
    return Preparation(found=lambda result: _printed(result, "not one of its 1 files can be used"))


def verify(sandbox: Sandbox, environment: str) -> Preparation:
    """Verify the trained model."""
    return Preparation(found=lambda _: _tag(sandbox, f"verified/{environment}/"))


def verify_false_claim(sandbox: Sandbox, environment: str) -> Preparation:
    """Verify a release that claims a higher accuracy than its model has."""
    claim = json.loads(sandbox.origin.repository.read("main", EVALUATION) or b"{}")
    claim["mean_accuracy"] += 0.01
    params = sandbox.origin.repository.read("main", PARAMETERS)
    sandbox.land(
        {
            EVALUATION: json.dumps(claim).encode(),
            # Parameters identify a release, so an equal release would already have a verdict.
            PARAMETERS: (params or b"") + f"# smoke test in {environment}\n".encode(),
        }
    )
    return Preparation(found=lambda _: _tag(sandbox, f"rejected/{environment}/"))


def monitor(sandbox: Sandbox, environment: str) -> Preparation:
    """Detect that the model is wrong on a scored batch, and start a training."""
    if not _scored(sandbox, environment):
        prepared = score(sandbox, environment)
        prepared.found(sandbox.test(environment, SCORING))
    # Invert all labels
    header, *rows = (_faces(sandbox) / "list_attr_celeba.txt").read_text().splitlines()[1:]
    table = [f"image_id,{','.join(header.split())}"]
    for name, *values in (row.split() for row in rows):
        table.append(",".join([name, *(str(-int(value)) for value in values)]))
    labels = sandbox.data(environment) / "labels"
    labels.mkdir(exist_ok=True)
    (labels / f"{BATCH}.csv").write_text("\n".join(table) + "\n")

    def found(_: CommandResult) -> str:
        record = checks.lines(sandbox.data(environment))[0]
        if not record:
            raise LookupError("no record of a decision")
        line = record[-1]
        if line.decision != "retrain" or not line.triggered:
            raise LookupError(f"the decision was {line.decision}, the training {line.triggered}")
        return f"a training of the reasons {'; '.join(line.reasons)}"

    return Preparation(conf={"profile": "small"}, found=found)


def monitor_damaged_scores(sandbox: Sandbox, environment: str) -> Preparation:
    """Monitor scores in a damaged file."""
    (scores,) = sandbox.data(environment).glob("scores/date=*")
    (scores / "damaged.parquet").write_bytes(b"PAR1 and no more")
    return Preparation(found=lambda result: _printed(result, "damaged.parquet"))


def as_it_is(_sandbox: Sandbox, _environment: str) -> Preparation:
    """Run the DAG without preparation."""
    return Preparation()


def without_origin(sandbox: Sandbox, _environment: str) -> Preparation:
    """Run the DAG without an origin."""
    nowhere = json.dumps({"conn_type": "git", "host": str(sandbox.logs.parent / "no-such-origin.git")})
    bundle = {"name": "dags", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    path = {"kwargs": {"path": str(sandbox.layout.checkout / "dags")}}
    return Preparation(
        extra={
            "AIRFLOW_CONN_GIT_DEFAULT": nowhere,
            # The release itself could not be fetched from a missing origin either.
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle | path]),
        },
        found=lambda result: _printed(result, "no-such-origin"),
    )


TRAINING, SCORING = "ml_pipeline_face_attributes", "score_faces"
FIRST = (TRAINING, SCORING)
"""DAGs that run first, because the others need their model and scores."""
PLANS = {
    TRAINING: Plan(train, train_from_nowhere),
    SCORING: Plan(score, score_no_image),
    "model_monitoring_and_retraining": Plan(monitor, monitor_damaged_scores),
    "verify_release": Plan(verify, verify_false_claim),
}
OTHERS = Plan(as_it_is, without_origin)


def land_model(sandbox: Sandbox) -> str:
    """Make every environment run the last trained model. It is too small to pass the gates."""
    trained = sandbox.origin.branches("run/")
    if not trained:
        raise EngineError("the training made no model, and the other DAGs need a model")
    repository, branch = sandbox.origin.repository, f"refs/heads/{trained[0]}"
    # On top of main: an environment refuses a main that does not contain the one that it knew.
    start = repository.merge_base(MAIN, branch)
    if start is None:
        raise EngineError(f"{branch} shares no history with {MAIN}")
    names = repository.changed(start, branch)
    contents = repository.read_all([(branch, name) for name in names])
    return sandbox.land({name: made for name, made in zip(names, contents, strict=True) if made is not None})


def restore(sandbox: Sandbox, model: str) -> None:
    """Undo the changes of an earlier fault with a new commit, because main is never rewritten."""
    files = sandbox.origin.repository.read_all([(model, name) for name in _CLAIM])
    sandbox.land({name: content for name, content in zip(_CLAIM, files, strict=True) if content})


def _faces(sandbox: Sandbox) -> Path:
    folder = sandbox.logs.parent / "faces"
    if not folder.is_dir():
        count = str(_FACES)
        sandbox.run(["-m", "face_attributes", "draw", str(folder), "--count", count, "--seed", "5"])
    return folder


def _scored(sandbox: Sandbox, environment: str) -> bool:
    return any(sandbox.data(environment).glob(f"scores/date=*/{BATCH}.parquet"))


def _incoming(sandbox: Sandbox, environment: str) -> Path:
    return sandbox.data(environment) / "incoming"


def _tag(sandbox: Sandbox, prefix: str) -> str:
    tags = sandbox.origin.repository.git("tag", "--list", f"{prefix}*").splitlines()
    if len(tags) != 1:
        raise LookupError(f"{len(tags)} tags {prefix}*, not one")
    return tags[0]


def _printed(result: CommandResult, text: str) -> str:
    if text not in result.output:
        raise LookupError(f"its log does not contain {text!r}")
    return text
