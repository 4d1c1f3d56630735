"""The command line: one command for each stage, and what else people do with faces and models."""

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from face_attributes.common.errors import FaceAttributesError

if TYPE_CHECKING:
    from face_attributes.monitoring.score_files import Days

# Heavy libraries are imported inside the commands that need them, so that --help answers at once

app = typer.Typer(
    name="python -m face_attributes",
    help=(
        "Learn to tell forty attributes of a face (glasses, a smile, a hat ...) from aligned photographs.\n\n"
        "The stages, in order: collect, prepare, tune, train, export, evaluate, reference. `dvc repro` runs "
        "those whose inputs changed; each can also be run alone, in the repository's root, and reads "
        "params.yaml there. "
        "`score` applies a trained model to a folder of images. `append` adds photographs that got their "
        "true attributes later to the training data; `drift` and `performance` say how a model fares.\n\n"
        "To see it all work in a minute or two: python -m face_attributes profile small, then dvc repro."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
_STAGES, _MONITORING, _TOOLS = "Stages", "Monitoring", "Tools"


@app.command(rich_help_panel=_STAGES)
def collect() -> None:
    """Read the photographs of data.source into data/raw, leaving broken ones out.

    Broken files are listed with reasons in data/raw/quarantine.csv; more of them than data.max_bad_fraction
    stops the stage. For data.source celeba, set CELEBA_DIR to the folder with the photographs; DVC cannot
    see that folder change: after a change there, run dvc repro --force collect.
    """
    from face_attributes import params
    from face_attributes.data.collect import collect as run

    run(params.load().data)


@app.command(rich_help_panel=_STAGES)
def prepare() -> None:
    """Decode and shrink them into data/prepared, and set the test part aside in data/holdout.parquet.

    Labelled batches that were appended are added. A photograph that is there already stays in its part, and
    the copy is left out and counted, also if its name or its file differs. data/sample.parquet gets some
    images as they are, for the stages export and reference.
    """
    from face_attributes import params
    from face_attributes.data.prepare import prepare as run

    run(params.load().prepare)


@app.command(rich_help_panel=_STAGES)
def tune() -> None:
    """Search for good hyperparameters with short trainings; the best go to search/best.json.

    A search that was interrupted goes on with the trial after the last that ended.
    """
    from face_attributes import params
    from face_attributes.training.tune import tune as run

    loaded = params.load()
    run(loaded.tune, loaded.train)


@app.command(rich_help_panel=_STAGES)
def train() -> None:
    """Train the model with search/best.json into models/model.pt.

    A training that was interrupted goes on after its last full epoch.
    """
    from face_attributes import params
    from face_attributes.training.train import train as run

    run(params.load())


@app.command(rich_help_panel=_STAGES)
def export() -> None:
    """Turn it into models/model.onnx, the file that ships, and check that it says what PyTorch says.

    Of the two variants in models/variants, float32 and int8, export.variant chooses; metrics/export.json
    has the figures of both.
    """
    from face_attributes import params
    from face_attributes.model.export import export as run

    run(params.load().export)


@app.command(rich_help_panel=_STAGES)
def evaluate(
    model: Annotated[Path | None, typer.Option(help="Model", show_default="models/model.onnx")] = None,
    holdout: Annotated[Path | None, typer.Option(help="Images", show_default="data/holdout.parquet")] = None,
    out: Annotated[Path | None, typer.Option(help="Figures", show_default="metrics/evaluation.json")] = None,
) -> None:
    """Measure the exported model on photographs that it never saw.

    Without options this is the stage, which also writes a summary, the latency and plots. With any of them
    only the figures are written.
    """
    from face_attributes import params
    from face_attributes.common import paths
    from face_attributes.evaluation import evaluate as stage

    options = params.load().evaluate
    if model or holdout or out:
        stage.evaluate(options, model or paths.MODEL, holdout or paths.HOLDOUT, out or paths.EVALUATION)
    else:
        stage.run(options)


@app.command(rich_help_panel=_STAGES)
def reference() -> None:
    """Write data/reference.parquet: what the model says of a sample of what it was made from.

    Monitoring compares with it what the model meets later.
    """
    from face_attributes.evaluation.reference import reference as run

    run()


@app.command(rich_help_panel=_TOOLS)
def score(
    folder: Annotated[Path, typer.Argument(help="Folder of aligned JPEGs, 178x218 pixels")],
    model: Annotated[Path, typer.Option(help="ONNX model, such as models/model.onnx")],
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    release: Annotated[str | None, typer.Option(help="Commit to note in the file")] = None,
    quarantine: Annotated[Path | None, typer.Option(help="Folder to move unusable files to")] = None,
    summary: Annotated[Path | None, typer.Option(help="JSON file for the figures of the batch")] = None,
) -> None:
    """Score every image of a folder: for each attribute a probability and a decision.

    Files that cannot be used are reported with reasons, and stay where they are unless --quarantine is given.
    """
    from face_attributes.monitoring.score import score as run

    scored, bad = run(folder, model, out, release, quarantine, summary)
    _print_bad(bad)
    print(f"score: {scored} images in {out}, {len(bad)} unusable")


@app.command(rich_help_panel=_TOOLS)
def compare(
    model: Annotated[Path, typer.Option(help="ONNX model that would ship")],
    incumbent: Annotated[Path, typer.Option(help="ONNX model that ships now")],
    out: Annotated[Path, typer.Option(help="JSON file to write")],
    holdout: Annotated[Path | None, typer.Option(help="Images", show_default="data/holdout.parquet")] = None,
    batch: Annotated[
        list[str] | None,
        typer.Option(help="Judge by the images of this labelled batch alone; may be repeated"),
    ] = None,
) -> None:
    """Tell whether a model is worse than another one, on the same images and on this machine.

    Says by how much the accuracy differs, over all, for each attribute and in each slice, with 95% intervals
    and how likely chance alone makes it look that much worse; and how latency and size compare. Nothing but
    the latency differs between two runs. With --batch latency and size are left out: they are no matter of
    the images.
    """
    from face_attributes.common import paths
    from face_attributes.evaluation import compare as evaluation_compare

    evaluation_compare.compare(model, incumbent, holdout or paths.HOLDOUT, out, batch or ())


@app.command(rich_help_panel=_TOOLS)
def append(
    folder: Annotated[
        Path, typer.Argument(help="Aligned JPEGs, 178x218 pixels, in CelebA's layout or a plain folder")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the batch", show_default="the folder's own")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Which attributes each has: a file like CelebA's list_attr_celeba, .txt or .csv",
            show_default="list_attr_celeba.* in the folder",
        ),
    ] = None,
) -> None:
    """Add photographs whose true attributes are known by now to the training data, as one labelled batch.

    It becomes data/labelled/NAME.parquet under DVC. Commit the .dvc file beside it and push the data, as the
    command says in the end: from then on every training reads the batch. A batch is never changed: the same
    photographs again are no news, others under the same name are refused.

    Of ten photographs some eight are to learn from, one to choose the model by, one to judge it by; which is
    which depends on their names alone and stays so. The stage prepare leaves out photographs that the data
    have already. Those without labels are left out, and broken ones with reasons; more broken ones than
    data.max_bad_fraction stop it.
    """
    from face_attributes import params
    from face_attributes.data.append import append as run

    done = run(params.load().data, folder, name, labels)
    _print_bad(done.bad)
    if done.absent:
        print(f"append: {done.absent} listed images are not in {folder}: left out")
    if done.unlabelled:
        print(f"append: {done.unlabelled} images in {folder} have no labels: left out")
    if not done.new:
        print(f"append: {done.pointer} holds this batch already; nothing to do")
        return
    parts = ", ".join(f"{count} {part}" for part, count in done.parts.items())
    print(f"append: {parts}, {len(done.bad)} in quarantine; {done.pointer} is the batch")
    print(f"append: to train with it: dvc push {done.pointer}, then git add {done.pointer} && git commit")


@app.command(rich_help_panel=_TOOLS)
def gather(
    scored: Annotated[Path, typer.Argument(help="Folder with a folder of images for each scored batch")],
    labels: Annotated[
        Path, typer.Option(help="Folder of attribute lists that came later, as performance has")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the labelled batches that wait to be appended")],
    name: Annotated[str, typer.Option(help="Name of the new batch")],
) -> None:
    """Make a labelled batch of scored images whose true attributes came to be known, for append to take.

    Images that an earlier batch in OUT was made of are left out. Fewer than a hundred new ones wait for more.
    """
    from face_attributes.monitoring.gather import MINIMUM
    from face_attributes.monitoring.gather import gather as run

    found = run(scored, labels, out, name)
    if found.folder:
        print(f"gather: {found.images} images in {found.folder}")
    else:
        print(f"gather: {found.images} images have new labels; {MINIMUM} make a batch")


_SCORES = typer.Argument(help="Parquet files that score wrote, or folders with such files at any depth")
_MODEL_SHA256 = typer.Option(help="Digest of the model (64 hex digits); scores of others are left out")
_REFERENCE = typer.Option(help="What the stage reference wrote for the model")
_RELEASE = typer.Option(help="Commit to note in the file")
_SINCE = typer.Option(formats=["%Y-%m-%d"], help="Leave out files in folders date=DAY of days before")
_UNTIL = typer.Option(formats=["%Y-%m-%d"], help="Leave out files in folders date=DAY of days after")


@app.command(rich_help_panel=_MONITORING)
def drift(
    scores: Annotated[list[Path], _SCORES],
    reference: Annotated[Path, _REFERENCE],
    model_sha256: Annotated[str, _MODEL_SHA256],
    out: Annotated[Path, typer.Option(help="JSON file to write")],
    report: Annotated[Path | None, typer.Option(help="HTML report to write (7 MB)")] = None,
    release: Annotated[str | None, _RELEASE] = None,
    since: Annotated[datetime | None, _SINCE] = None,
    until: Annotated[datetime | None, _UNTIL] = None,
    alarm_after: Annotated[
        int, typer.Option(min=1, max=7, help="In how many windows a column must differ to have drifted")
    ] = 2,
) -> None:
    """Say whether images that were scored differ from those that the model was chosen by.

    Looked at are the latest seven windows: days (date=DAY) with a hundred images or more, or as many days
    in a row as it takes to have them. Scores, decisions, embedding and figures of the images are tested in
    each: a column differs if it moved by more than chance and other people explain, all columns considered.
    The same image counts once. The report is Evidently's, of all windows together. Too few windows are not
    enough to say. Drift is an answer, not an error: the exit code is 0.
    """
    from face_attributes.monitoring.drift import drift as run

    days = _days(since, until)
    found = run(scores, reference, model_sha256, out, report, release, days, alarm_after)
    count = len(found["windows"])
    windows = f"{found['rows']} images in {count} window{'s' * (count != 1)}"
    if not found["enough_data"]:
        print(
            f"drift: not enough data: {windows}, {found['reference_rows']} to compare with; it takes "
            f"{found['minimum']} of both, and {alarm_after} windows"
        )
    elif found["drifted"]:
        moved = ", ".join(found["columns_drifted"])
        print(f"drift: {len(found['columns_drifted'])} of {len(found['columns'])} columns drifted: {moved}")
    else:
        print(f"drift: none in {len(found['columns'])} columns, {windows}")


@app.command(rich_help_panel=_MONITORING)
def performance(
    scores: Annotated[list[Path], _SCORES],
    labels: Annotated[
        list[Path],
        typer.Option(
            help="True attributes that came later: <batch>.csv with the columns image_id and the attributes "
            "(-1 or 1), or a folder of such files; may be repeated"
        ),
    ],
    reference: Annotated[Path, _REFERENCE],
    model_sha256: Annotated[str, _MODEL_SHA256],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Mean accuracy that the model is to keep")],
    out: Annotated[Path, typer.Option(help="JSON file to write")],
    release: Annotated[str | None, _RELEASE] = None,
    since: Annotated[datetime | None, _SINCE] = None,
    until: Annotated[datetime | None, _UNTIL] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(help="metrics/evaluation.json of the release: its accuracy is a second limit"),
    ] = None,
    max_loss: Annotated[
        float, typer.Option(min=0, max=1, help="How far the accuracy may be below that of the evaluation")
    ] = 0.0,
) -> None:
    """Say how often the model was right about scored images whose true attributes came to be known later.

    It is below the threshold if the whole 95% interval of its mean accuracy is, and below its release if the
    whole 95% interval of the difference is. Fewer than a hundred labelled images are not enough to say. Being
    below is an answer, not an error: the exit code is 0.
    """
    from face_attributes.monitoring.performance import performance as run

    days = _days(since, until)
    found = run(scores, labels, reference, model_sha256, threshold, out, release, days, evaluation, max_loss)
    if not found["enough_labels"]:
        few = f"{found['images']} of the scored images have one of the {found['labels']} labels"
        print(f"performance: not enough labels: {few}; it takes {found['minimum']}")
        return
    low, high = found["mean_accuracy_low"], found["mean_accuracy_high"]
    below = found["below_threshold"] or found["below_release"]
    print(
        f"performance: mean accuracy {found['mean_accuracy']:.2%} ({low:.2%} to {high:.2%}) on "
        f"{found['images']} images, {'below' if below else 'not below'} {found['limit']:.2%}"
    )


@app.command(rich_help_panel=_TOOLS)
def draw(
    folder: Annotated[Path, typer.Argument(help="Folder to draw into, new or drawn before")],
    count: Annotated[int, typer.Option(help="How many faces")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed draws other faces")] = 1,
    light: Annotated[float, typer.Option(help="Factor on every pixel; below 1 is darker")] = 1.0,
    blur: Annotated[float, typer.Option(help="Blur in pixels (standard deviation)")] = 0.0,
    noise: Annotated[float, typer.Option(help="Noise in grey levels (standard deviation)")] = 0.0,
    pose: Annotated[float, typer.Option(help="Factor on how far heads turn, lean and shift")] = 1.0,
    marginal: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="Share of faces with an attribute; may be repeated"),
    ] = None,
) -> None:
    """Draw faces into a folder in the CelebA layout; the knobs make them drift from what a model has seen."""
    from face_attributes.data import source
    from face_attributes.data.drawn_folder import draw_folder

    params = source.synthetic_params(
        count=count, seed=seed, light=light, blur=blur, noise=noise, pose=pose, marginals=marginal or []
    )
    draw_folder(params, folder)
    print(f"draw: {count} faces in {folder}")


@app.command(rich_help_panel=_TOOLS)
def gallery(
    out: Annotated[Path, typer.Option(help="PNG file to write")],
    source: Annotated[
        str | None, typer.Option(help="synthetic or celeba", show_default="data.source of params.yaml")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=400, help="How many faces")] = 24,
) -> None:
    """Show faces of the source with their attributes on one sheet."""
    from face_attributes import params
    from face_attributes.data import source as sources
    from face_attributes.evaluation import contact_sheet as sheets

    images, ids, labels = sources.some(params.load(source=source).data, count)
    sheets.sheet(images, ids, labels, out)
    print(f"gallery: {len(ids)} faces in {out}")


@app.command(rich_help_panel=_TOOLS)
def profile(name: Annotated[str, typer.Argument(help="small: all stages in a minute or two")]) -> None:
    """Merge params.NAME.yaml into params.yaml. To undo it: git restore params.yaml.

    A model of the small profile shows that everything works; it is never released.
    """
    from face_attributes import params

    params.apply_profile(name)
    print(f"profile: params.yaml now has the values of params.{name}.yaml; to undo: git restore params.yaml")


@app.command(rich_help_panel=_TOOLS)
def schema() -> None:
    """Print the JSON Schema of params.yaml, for schemas/params.schema.json.

    `gitops check` judges parameters with that file. After a change of the parameters' model, run:
    python -m face_attributes schema > schemas/params.schema.json
    """
    import json

    from face_attributes import params

    print(json.dumps(params.schema(), indent=2))


def _days(since: datetime | None, until: datetime | None) -> "Days":
    from face_attributes.monitoring.score_files import Days

    return Days(since and since.date(), until and until.date())


def _print_bad(reasons: dict[str, str]) -> None:
    for name, reason in list(reasons.items())[:20]:
        print(f"quarantine: {name}: {reason}", file=sys.stderr)
    if len(reasons) > 20:
        print(f"quarantine: ... and {len(reasons) - 20} more", file=sys.stderr)


def main() -> None:
    """Run the command line; an error that a user can mend is one line and exit code 1."""
    # Threads that wait by spinning take the cores from whoever they wait for: on a busy machine training is
    # three times slower with them. PyTorch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except FaceAttributesError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
