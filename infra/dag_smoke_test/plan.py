"""The runs of each DAG: a run that ends well, and a run that a planted fault makes fail."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dashboard import checks
from gitops.model.evaluation import evaluation
from gitops.paths import EVALUATION, PARAMETERS
from infra.dag_smoke_test.sandbox import Ran, Sandbox
from infra.local.errors import EngineError

BATCH = "smoke-test"
# As many as monitoring asks for, and some
_FACES = 120
_CLAIM = (EVALUATION, PARAMETERS)


@dataclass(frozen=True)
class Prepared:
    """How a run is started, and what must come of it: `found` returns what did, or raises LookupError."""

    conf: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    found: Callable[[Ran], str] = lambda ran: ""


Prepare = Callable[[Sandbox, str], Prepared]


@dataclass(frozen=True)
class Plan:
    """The two runs of a DAG in an environment."""

    well: Prepare
    fault: Prepare


def train(sandbox: Sandbox, environment: str) -> Prepared:
    """Train at profile small; in the end the branch of the run holds a model."""
    before = set(sandbox.origin.branches("run/"))

    def found(ran: Ran) -> str:
        made = [name for name in sandbox.origin.branches("run/") if name not in before]
        if not made:
            raise LookupError("no branch of the run")
        branch = made[0]
        accuracy = evaluation(sandbox.origin.repository, f"refs/heads/{branch}").mean_accuracy
        return f"a model with accuracy {accuracy:.3f}"

    return Prepared(conf={"profile": "small"}, found=found)


def train_from_nowhere(sandbox: Sandbox, environment: str) -> Prepared:
    """Train from a branch that there is not."""
    return Prepared(
        conf={"profile": "small", "ref": "no-such-branch"}, found=lambda ran: _said(ran, "no-such-branch")
    )


def score(sandbox: Sandbox, environment: str) -> Prepared:
    """Score a batch of drawn faces."""
    shutil.copytree(_faces(sandbox) / "img_align_celeba", _incoming(sandbox, environment) / BATCH)

    def found(ran: Ran) -> str:
        if not _scored(sandbox, environment):
            raise LookupError("no file of scores")
        return _said(ran, f"{_FACES} images are scored")

    return Prepared(found=found)


def score_no_image(sandbox: Sandbox, environment: str) -> Prepared:
    """Score a batch without one usable image."""
    folder = _incoming(sandbox, environment) / "broken"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(b"not an image")
    return Prepared(found=lambda ran: _said(ran, "not one of its 1 files can be used"))


def verify(sandbox: Sandbox, environment: str) -> Prepared:
    """Verify the model that was trained."""
    return Prepared(found=lambda ran: _tag(sandbox, f"verified/{environment}/"))


def verify_false_claim(sandbox: Sandbox, environment: str) -> Prepared:
    """Verify a release that claims more than its model keeps."""
    claim = json.loads(sandbox.origin.repository.read("main", EVALUATION) or b"{}")
    claim["mean_accuracy"] += 0.01
    params = sandbox.origin.repository.read("main", PARAMETERS)
    sandbox.land(
        {
            EVALUATION: json.dumps(claim).encode(),
            # A release is known by its parameters among others: an equal one would have its verdict already.
            PARAMETERS: (params or b"") + f"# smoke test in {environment}\n".encode(),
        }
    )
    return Prepared(found=lambda ran: _tag(sandbox, f"rejected/{environment}/"))


def monitor(sandbox: Sandbox, environment: str) -> Prepared:
    """Find the model wrong about a scored batch, and start a training."""
    if not _scored(sandbox, environment):
        prepared = score(sandbox, environment)
        prepared.found(sandbox.test(environment, SCORING))
    # Labels of a world in which the opposite of each is true
    header, *rows = (_faces(sandbox) / "list_attr_celeba.txt").read_text().splitlines()[1:]
    table = [f"image_id,{','.join(header.split())}"]
    for name, *values in (row.split() for row in rows):
        table.append(",".join([name, *(str(-int(value)) for value in values)]))
    labels = sandbox.data(environment) / "labels"
    labels.mkdir(exist_ok=True)
    (labels / f"{BATCH}.csv").write_text("\n".join(table) + "\n")

    def found(ran: Ran) -> str:
        record, _ = checks.lines(sandbox.data(environment))
        if not record:
            raise LookupError("no record of a decision")
        line = record[-1]
        if line.decision != "retrain" or not line.triggered:
            raise LookupError(f"the decision was {line.decision}, the training {line.triggered}")
        return f"a training of the reasons {'; '.join(line.reasons)}"

    return Prepared(conf={"profile": "small"}, found=found)


def monitor_damaged_scores(sandbox: Sandbox, environment: str) -> Prepared:
    """Watch over scores in a file that is damaged."""
    (scores,) = sandbox.data(environment).glob("scores/date=*")
    (scores / "damaged.parquet").write_bytes(b"PAR1 and no more")
    return Prepared(found=lambda ran: _said(ran, "damaged.parquet"))


def as_it_is(sandbox: Sandbox, environment: str) -> Prepared:
    """Run the DAG with nothing prepared."""
    return Prepared()


def without_origin(sandbox: Sandbox, environment: str) -> Prepared:
    """Run the DAG where there is no origin."""
    nowhere = json.dumps({"conn_type": "git", "host": str(sandbox.logs.parent / "no-such-origin.git")})
    bundle = {"name": "dags", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    path = {"kwargs": {"path": str(sandbox.layout.checkout / "dags")}}
    return Prepared(
        extra={
            "AIRFLOW_CONN_GIT_DEFAULT": nowhere,
            # The release itself could not be fetched from there either.
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle | path]),
        },
        found=lambda ran: _said(ran, "no-such-origin"),
    )


TRAINING, SCORING = "ml_pipeline_face_attributes", "score_faces"
FIRST = (TRAINING, SCORING)
"""What the other DAGs need comes of these: a model, and scores."""
PLANS = {
    TRAINING: Plan(train, train_from_nowhere),
    SCORING: Plan(score, score_no_image),
    "model_monitoring_and_retraining": Plan(monitor, monitor_damaged_scores),
    "verify_release": Plan(verify, verify_false_claim),
}
OTHERS = Plan(as_it_is, without_origin)


def land_model(sandbox: Sandbox) -> str:
    """Let every environment run what was trained last, which no gate would let through: it is too small."""
    trained = sandbox.origin.branches("run/")
    if not trained:
        raise EngineError("the training made no model, and nothing else can run without one")
    return sandbox.land({}, on=f"refs/heads/{trained[0]}")


def restore(sandbox: Sandbox, model: str) -> None:
    """Take back what an earlier fault changed in the release, as a commit on top: main is never rewritten."""
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


def _said(ran: Ran, text: str) -> str:
    if text not in ran.output:
        raise LookupError(f"its log does not say {text!r}")
    return text
