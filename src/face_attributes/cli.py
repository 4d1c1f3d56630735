"""The command line: a command for each stage, and commands for scoring, monitoring and data."""

import errno
import json
import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.main

from face_attributes.common.celeba_attributes import Align
from face_attributes.common.errors import FaceAttributesError
from face_attributes.common.failures import failure
from face_attributes.common.files import own_temporary_folder, printable
from face_attributes.common.own_code import start_own_code

if TYPE_CHECKING:
    from face_attributes.monitoring.score_files import DateRange

# Commands import heavy libraries themselves, so that --help is fast

app = typer.Typer(
    name="python -m face_attributes",
    help=(
        "Train a model of forty face attributes (glasses, a smile, a hat ...) on aligned photographs.\n\n"
        "The stages, in order: collect, prepare, tune, train, export, evaluate, card, reference. `dvc repro` "
        "runs the stages whose inputs changed. You can also run a single stage in the root of the "
        "repository; it reads params.yaml. "
        "`score` applies a trained model to a folder of images. `append` adds photographs whose true "
        "attributes arrived later to the training data. `drift` and `performance` monitor a model.\n\n"
        "To try all stages in a minute or two: .venv/bin/python -m face_attributes profile small, then "
        "source .venv/bin/activate && dvc repro."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
# Typer brings its own copy of click, and exports no name for all faults of usage.
_UsageError: Any = typer.BadParameter.__bases__[0]
_STAGES, _MONITORING, _TOOLS = "Stages", "Monitoring", "Tools"


@app.callback()
def options(
    ctx: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also show details of the work")] = False,
) -> None:
    """Show the log on standard error, a line for each record, until the command ends."""
    logger = logging.getLogger("face_attributes")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    ctx.call_on_close(lambda: logger.removeHandler(handler))


@app.command(rich_help_panel=_STAGES)
def collect() -> None:
    """Read the photographs of data.source into data/raw, except broken files.

    Broken files are listed with reasons in data/raw/quarantine.csv. If their share exceeds
    data.max_bad_fraction, the stage fails. For data.source celeba, set CELEBA_DIR to the folder with the
    photographs. DVC does not watch that folder: after a change there, run dvc repro --force collect.
    """
    from face_attributes import params
    from face_attributes.data.collect import collect as run

    run(params.load().data)


@app.command(rich_help_panel=_STAGES)
def prepare() -> None:
    """Decode and shrink the photographs into data/prepared, and write the test part to data/holdout.parquet.

    Appended labelled batches are included. Copies of a photograph are left out and counted, even if their
    name, file or cut differs. data/sample.parquet gets some unchanged images, for the stages export and
    reference. metrics/data.json gets facts about the data. The stage fails if they break data/contract.yaml.
    """
    from face_attributes import params
    from face_attributes.contract.run import run

    run(params.load())


@app.command(rich_help_panel=_STAGES)
def tune() -> None:
    """Search for hyperparameters with short trainings, and write the best to search/best.json.

    An interrupted search continues after the last completed trial.
    """
    from face_attributes import params
    from face_attributes.training.tune import tune as run

    loaded = params.load()
    run(loaded.tune, loaded.train)


@app.command(rich_help_panel=_STAGES, hidden=True)
def trial(
    number: Annotated[int, typer.Argument(min=0)],
    earlier: Annotated[Path, typer.Option(help="Records of earlier trials")],
    out: Annotated[Path, typer.Option(help="File to write")],
) -> None:
    """Run one trial of the search, as the training pipeline does where tune.parallel is over 1."""
    from face_attributes import params
    from face_attributes.training.trial_run import run_alone

    loaded = params.load()
    run_alone(number, loaded.tune, loaded.train, earlier, out)


@app.command(rich_help_panel=_STAGES)
def train() -> None:
    """Train the model with search/best.json into models/model.pt.

    An interrupted training continues after the last completed epoch.
    """
    from face_attributes import params
    from face_attributes.training.train import train as run

    run(params.load())


@app.command(rich_help_panel=_STAGES)
def export() -> None:
    """Export the model to models/model.onnx, and check that it gives the same results as PyTorch.

    export.variant selects the float32 or the int8 variant of models/variants. metrics/export.json has the
    metrics of both.
    """
    from face_attributes import params
    from face_attributes.model.export import export as run

    run(params.load().export)


@app.command(rich_help_panel=_STAGES)
def evaluate(
    model: Annotated[Path | None, typer.Option(help="Model", show_default="models/model.onnx")] = None,
    holdout: Annotated[Path | None, typer.Option(help="Images", show_default="data/holdout.parquet")] = None,
    out: Annotated[Path | None, typer.Option(help="Figures", show_default="metrics/evaluation.json")] = None,
    details: Annotated[
        Path | None, typer.Option(help="Folder for decisions.json and latency.json", show_default=False)
    ] = None,
) -> None:
    """Evaluate the exported model on the hold-out set.

    Without options, this is the stage, which also writes a summary, the latency and plots. With any option,
    only the metrics are written, and the decisions and the latency if a folder for them is given.
    """
    from face_attributes import params
    from face_attributes.common import paths
    from face_attributes.common.files import write_json
    from face_attributes.evaluation import decisions
    from face_attributes.evaluation import evaluate as stage
    from face_attributes.model import latency

    loaded = params.load()
    options = loaded.evaluate
    if model or holdout or out or details:
        images = holdout or paths.HOLDOUT
        loaded_model, predictions, _ = stage.evaluate(
            options, model or paths.MODEL, images, out or paths.EVALUATION
        )
        if details:
            decisions.write(loaded_model, predictions, images, details / "decisions.json")
            measured = latency.measure([loaded_model], 1)[0]
            write_json(details / "latency.json", {"format": 1, "p50_ms": measured.p50_ms})
    else:
        stage.run(options, loaded.data.source)


@app.command(rich_help_panel=_STAGES)
def card() -> None:
    """Write metrics/card.md and metrics/card.json: the model card, from the metrics of the other stages.

    A field that no stage measured is "not evaluated"; no field is left out.
    """
    from face_attributes import params
    from face_attributes.card.card import run

    run(params.load())


@app.command(rich_help_panel=_STAGES)
def reference() -> None:
    """Write data/reference.parquet: the model's results for a sample of its own images.

    Monitoring compares later images with this reference.
    """
    from face_attributes.evaluation.reference import reference as run

    run()


@app.command(rich_help_panel=_TOOLS)
def score(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs: JPEG, PNG, WebP, HEIC")],
    model: Annotated[Path, typer.Option(help="ONNX model, such as models/model.onnx")],
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    release: Annotated[str | None, typer.Option(help="Commit to record in the file")] = None,
    quarantine: Annotated[Path | None, typer.Option(help="Folder to move unusable files to")] = None,
    summary: Annotated[Path | None, typer.Option(help="JSON file for the summary of the batch")] = None,
    align: Annotated[
        Align,
        typer.Option(
            help="Find the faces and align them: in images of another size than 178x218, always, or never"
        ),
    ] = "auto",
    part: Annotated[str | None, typer.Option(help="Score a part, such as 3/50; then join the parts")] = None,
) -> None:
    """Score every face of a folder of photographs: for each attribute a probability and a decision.

    Unusable files are reported with reasons. With --quarantine, they are moved.
    """
    from face_attributes.monitoring.part import Part
    from face_attributes.monitoring.score import score as run

    if part is not None and (quarantine or summary):
        raise typer.BadParameter("--quarantine and --summary are options of join, and not of a part")
    scored, bad = run(
        folder, model, out, release, quarantine, summary, align, Part.parse(part) if part else None
    )
    _print_bad(bad)
    print(f"score: {scored} faces in {out}, {len(bad)} unusable")


@app.command(rich_help_panel=_TOOLS)
def join(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs")],
    parts: Annotated[list[Path], typer.Argument(help="Files that `score --part` wrote, one for each part")],
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    quarantine: Annotated[Path | None, typer.Option(help="Folder to move unusable files to")] = None,
    summary: Annotated[Path | None, typer.Option(help="JSON file for the summary of the batch")] = None,
) -> None:
    """Join the scored parts of a folder of photographs. The result is that of one `score` of the folder."""
    from face_attributes.monitoring.join import join as run

    scored, bad = run(folder, parts, out, quarantine, summary)
    _print_bad(bad)
    print(f"join: {scored} faces in {out}, {len(bad)} unusable")


@app.command(rich_help_panel=_TOOLS)
def search(
    scores: Annotated[Path, typer.Argument(help="Folder of scores, such as the environment's scores/")],
    has: Annotated[
        list[str] | None, typer.Option(help="Attribute that a face shows; may be repeated")
    ] = None,
    lacks: Annotated[list[str] | None, typer.Option(help="Attribute that it does not show")] = None,
    photographs: Annotated[
        Path | None, typer.Option(help="Folder of the photographs", show_default="scored/ beside the scores")
    ] = None,
    most: Annotated[int, typer.Option(help="Faces to print", min=1, max=1000)] = 24,
) -> None:
    """Print the newest scored faces with some attributes and without others, as JSON."""
    from face_attributes.monitoring.search import search as run

    print(json.dumps(run(scores, photographs or scores.parent / "scored", has or (), lacks or (), most)))


@app.command(rich_help_panel=_TOOLS, hidden=True)
def people() -> None:
    """Find, erase or leave out the photographs of a person. `gitops forget` starts this command."""
    from face_attributes.people import rebuild
    from face_attributes.people import search as people_search
    from face_attributes.people.wanted import Wanted

    request = json.loads(sys.stdin.read())
    if request["do"] == "rebuild":
        os.chdir(request["checkout"])  # DVC finds its repository by the present folder
        answer = rebuild.rebuild(Path(), Wanted.of(request))
    else:
        answer = people_search.search(request, act=request["do"] == "erase")
    sys.stdout.write(json.dumps(answer))


@app.command(rich_help_panel=_TOOLS, hidden=True)
def online(
    model: Annotated[Path, typer.Option(help="ONNX model of the release")],
    release: Annotated[str, typer.Option(help="Commit to record in the files of scores")],
    scores: Annotated[Path, typer.Option(help="Folder for the scores of sampled faces")],
    memory: Annotated[int, typer.Option(help="Descriptor of the memory of the service")],
    keep: Annotated[Path | None, typer.Option(help="Folder for sampled photographs")] = None,
) -> None:
    """Answer the online service by pipes. The service starts this command."""
    from face_attributes.monitoring.online import answer_all, shared_memory, standard_streams

    requests, answers = standard_streams()
    answer_all(model, release, scores, keep, shared_memory(memory), requests, answers)


@app.command(rich_help_panel=_TOOLS)
def compare(
    model: Annotated[Path, typer.Option(help="ONNX model to judge")],
    incumbent: Annotated[Path, typer.Option(help="Current ONNX model")],
    out: Annotated[Path, typer.Option(help="JSON file to write")],
    holdout: Annotated[Path | None, typer.Option(help="Images", show_default="data/holdout.parquet")] = None,
    batch: Annotated[
        list[str] | None,
        typer.Option(help="Compare only on the images of this labelled batch (repeatable)"),
    ] = None,
) -> None:
    """Compare a model with another model, on the same images and on this machine.

    The result has the differences of accuracy (overall, for each attribute and in each slice) with 95%
    intervals and p-values, and the ratios of latency and size. Only the latency differs between two runs.
    With --batch, latency and size are left out, because they do not depend on the images.
    """
    from face_attributes.common import paths
    from face_attributes.evaluation import compare as evaluation_compare

    evaluation_compare.compare(model, incumbent, holdout or paths.HOLDOUT, out, batch or ())


@app.command(rich_help_panel=_TOOLS)
def append(
    folder: Annotated[
        Path, typer.Argument(help="Photographs of one face each, in CelebA's layout or a plain folder")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the batch", show_default="the folder's own, with - for spaces")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Attributes of each image: a file like CelebA's list_attr_celeba, .txt or .csv",
            show_default="list_attr_celeba.* in the folder",
        ),
    ] = None,
) -> None:
    """Add photographs with known true attributes to the training data, as a labelled batch.

    The batch becomes data/labelled/NAME.parquet under DVC. Commit the .dvc file beside it and push the data,
    with the commands that are printed at the end. From then on, every training reads the batch. A batch never
    changes: appending the same photographs again does nothing, and other photographs under the same name are
    refused.

    About 80 % of the photographs are for training, 10 % for validation and 10 % for the hold-out set.
    Photographs of one person, of one scored batch or of one burst get one part. The stage prepare leaves out
    duplicates of earlier photographs. Photographs without labels and broken files are left out. If the share
    of broken files exceeds data.max_bad_fraction, the command fails.
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
    labels: Annotated[Path, typer.Option(help="Folder of late attribute lists, as for performance")],
    out: Annotated[Path, typer.Option(help="Folder of the labelled batches that wait to be appended")],
    name: Annotated[str, typer.Option(help="Name of the new batch")],
) -> None:
    """Collect scored images with late labels into a labelled batch for append.

    Images of earlier batches in OUT are left out. Nothing is written for fewer than a hundred new images.
    """
    from face_attributes.monitoring.gather import MINIMUM
    from face_attributes.monitoring.gather import gather as run

    gathered = run(scored, labels, out, name)
    if gathered.folder:
        print(f"gather: {gathered.images} images in {gathered.folder}")
    else:
        print(f"gather: {gathered.images} images have new labels; {MINIMUM} make a batch")


_SCORES = typer.Argument(help="Parquet files that score wrote, or folders with such files at any depth")
_MODEL_SHA256 = typer.Option(help="Digest of the model (64 hex digits); scores of other models are left out")
_REFERENCE = typer.Option(help="Reference of the model, from the stage reference")
_RELEASE = typer.Option(help="Commit to record in the file")
_SINCE = typer.Option(formats=["%Y-%m-%d"], help="Ignore folders date=DAY before this day")
_UNTIL = typer.Option(formats=["%Y-%m-%d"], help="Ignore folders date=DAY after this day")


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
        int,
        typer.Option(min=1, max=7, help="Number of windows in which a column must differ to have drifted"),
    ] = 2,
) -> None:
    """Check whether scored images differ from the images that the model was selected on.

    The check tests scores, decisions, embedding and image statistics in the latest seven windows. A window
    is a day (date=DAY) with a hundred images or more, or as many successive days as it takes to reach a
    hundred. A column differs if its shift is significant and larger than other people explain, adjusted for
    the number of columns. The same image counts once. The HTML report of Evidently covers all windows. Too
    few windows give no result. Drift is a result, not an error: the exit status is 0.
    """
    from face_attributes.monitoring.drift import drift as run

    days = _days(since, until)
    result = run(scores, reference, model_sha256, out, report, release, days, alarm_after)
    count = len(result["windows"])
    windows = f"{result['rows']} images in {count} window{'s' * (count != 1)}"
    if not result["enough_data"]:
        print(
            f"drift: not enough data: {windows}, {result['reference_rows']} to compare with; it takes "
            f"{result['minimum']} of both, and {alarm_after} windows"
        )
    elif result["drifted"]:
        weeks = result["first_weeks"] or {"columns_drifted": []}
        for name, moved in (
            ("training", result["columns_drifted"]),
            ("first weeks", weeks["columns_drifted"]),
        ):
            if name in result["raised_by"]:
                shown = ", ".join(moved) or "all together"
                print(f"drift from {name}: {len(moved)} of {len(result['columns'])} columns drifted: {shown}")
    else:
        print(f"drift: none in {len(result['columns'])} columns, {windows}")


@app.command(rich_help_panel=_MONITORING)
def performance(
    scores: Annotated[list[Path], _SCORES],
    labels: Annotated[
        list[Path],
        typer.Option(
            help="Late true attributes: BATCH.csv with the columns image_id and the attributes "
            "(-1 or 1), or a folder of such files (repeatable)"
        ),
    ],
    reference: Annotated[Path, _REFERENCE],
    model_sha256: Annotated[str, _MODEL_SHA256],
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Lowest acceptable mean accuracy")],
    out: Annotated[Path, typer.Option(help="JSON file to write")],
    release: Annotated[str | None, _RELEASE] = None,
    since: Annotated[datetime | None, _SINCE] = None,
    until: Annotated[datetime | None, _UNTIL] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(help="metrics/evaluation.json of the release: its accuracy is a second limit"),
    ] = None,
    max_loss: Annotated[
        float, typer.Option(min=0, max=1, help="Largest acceptable loss of accuracy since the evaluation")
    ] = 0.0,
) -> None:
    """Measure the accuracy of the model on scored images with late labels.

    The accuracy is below the threshold if the whole 95% interval of its mean is, and below the release's
    accuracy if the whole 95% interval of the difference is. Fewer than a hundred labelled images give no
    result. A low accuracy is a result, not an error: the exit status is 0.
    """
    from face_attributes.monitoring.performance import performance as run

    days = _days(since, until)
    result = run(scores, labels, reference, model_sha256, threshold, out, release, days, evaluation, max_loss)
    if unused := result["label_files_left_out"]:
        print(f"performance: lists that were left out: {unused}; the first is {result['left_out'][0]}")
    if not result["enough_labels"]:
        few = f"{result['images']} of the scored images have one of the {result['labels']} labels"
        print(f"performance: not enough labels: {few}; it takes {result['minimum']}")
        return
    low, high = result["mean_accuracy_low"], result["mean_accuracy_high"]
    below = result["below_threshold"] or result["below_release"]
    print(
        f"performance: mean accuracy {result['mean_accuracy']:.2%} ({low:.2%} to {high:.2%}) on "
        f"{result['images']} images, {'below' if below else 'not below'} {result['limit']:.2%}"
    )


@app.command(rich_help_panel=_MONITORING)
def shadow(
    scores: Annotated[Path, typer.Argument(help="Folder with the scores of the release")],
    shadow_scores: Annotated[
        Path, typer.Option("--shadow", help="Folder with the scores of the other model, for the same batches")
    ],
    model: Annotated[Path, typer.Option(help="The other model")],
    incumbent: Annotated[Path, typer.Option(help="The model of the release")],
    out: Annotated[Path, typer.Option(help="JSON file to write")],
    labels: Annotated[
        list[Path] | None, typer.Option(help="Late true attributes, as for performance (repeatable)")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z"], help="The time from which images count that a canary answered"
        ),
    ] = None,
) -> None:
    """Compare a model that scored the same batches with the model of the release.

    The figures have the agreement for each attribute, how far the distributions of the scores are apart, and
    the latency of both models here. With a hundred labelled images or more, they also have the comparison by
    which the gates judge a model.
    """
    from face_attributes.monitoring.shadow import shadow as run
    from face_attributes.monitoring.shadow import told

    print(told(run(scores, shadow_scores, model, incumbent, labels or (), out, since)))


@app.command(rich_help_panel=_TOOLS)
def draw(
    folder: Annotated[
        Path, typer.Argument(help="Folder for the images: new, or an earlier folder of drawn faces")
    ],
    count: Annotated[int, typer.Option(help="Number of faces")] = 1000,
    held_out: Annotated[int, typer.Option(help="Number of further faces, all in the test part")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers")] = 1,
    light: Annotated[float, typer.Option(help="Factor for the brightness; below 1 is darker")] = 1.0,
    blur: Annotated[float, typer.Option(help="Blur in pixels (standard deviation)")] = 0.0,
    noise: Annotated[float, typer.Option(help="Noise in grey levels (standard deviation)")] = 0.0,
    pose: Annotated[float, typer.Option(help="Factor for turns, tilts and shifts of heads")] = 1.0,
    marginal: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="Share of faces with an attribute (repeatable)"),
    ] = None,
) -> None:
    """Draw faces into a folder in the CelebA layout. The options from --light on simulate drift."""
    from face_attributes.data import source
    from face_attributes.data.drawn_folder import draw_folder

    params = source.synthetic_params(
        count=count,
        held_out=held_out,
        seed=seed,
        light=light,
        blur=blur,
        noise=noise,
        pose=pose,
        marginals=marginal or [],
    )
    draw_folder(params, folder)
    print(f"draw: {params.faces} faces in {folder}")


@app.command(rich_help_panel=_TOOLS)
def gallery(
    out: Annotated[Path, typer.Option(help="PNG file to write")],
    source: Annotated[
        str | None, typer.Option(help="synthetic or celeba", show_default="data.source of params.yaml")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=400, help="Number of faces")] = 24,
) -> None:
    """Draw a contact sheet with faces of the source and their attributes."""
    from face_attributes import params
    from face_attributes.common import contact_sheet as sheets
    from face_attributes.data import source as sources

    images, ids, labels = sources.some(params.load(source=source).data, count)
    sheets.sheet(images, ids, labels, out)
    print(f"gallery: {len(ids)} faces in {out}")


@app.command(rich_help_panel=_TOOLS)
def profile(name: Annotated[str, typer.Argument(help="small: all stages in a minute or two")]) -> None:
    """Merge params.NAME.yaml into params.yaml. To undo: git restore params.yaml.

    The profile small only shows that all stages work. Its models are never released.
    """
    from face_attributes import params

    params.apply_profile(name)
    print(f"profile: params.yaml now has the values of params.{name}.yaml; to undo: git restore params.yaml")


@app.command(rich_help_panel=_TOOLS)
def schema() -> None:
    """Print the JSON Schema of params.yaml, for schemas/params.schema.json.

    `gitops check` validates parameters with that file. After a change of the classes in params.py, run:
    python -m face_attributes schema > schemas/params.schema.json
    """
    import json

    from face_attributes import params

    print(json.dumps(params.schema(), indent=2))


def _days(since: datetime | None, until: datetime | None) -> "DateRange":
    from face_attributes.monitoring.score_files import DateRange

    return DateRange(since and since.date(), until and until.date())


def _print_bad(reasons: dict[str, str]) -> None:
    for name, reason in list(reasons.items())[:20]:
        print(f"quarantine: {printable(name)}: {reason}", file=sys.stderr)
    if len(reasons) > 20:
        print(f"quarantine: ... and {len(reasons) - 20} more", file=sys.stderr)


def main() -> None:
    """Run the command line. Print an expected error in the form of `failures`, and exit with status 1."""
    # Threads that wait by spinning take cores from other threads: on a busy machine, training
    # is three times slower with them. PyTorch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typed = sys.argv[1:]
    try:
        start_own_code()
        with own_temporary_folder():
            status = typer.main.get_command(app).main(typed, app.info.name, standalone_mode=False)
    except _UsageError as error:
        problem = error.format_message()  # none where the help was shown
        if problem:
            print(failure(typed, problem), file=sys.stderr)
        sys.exit(error.exit_code)
    except FaceAttributesError as error:
        print(failure(typed, error, error.next_command), file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = f"; make room in {Path.cwd()} and in the folder for temporary files, and run it again"
        print(
            failure(typed, f"{error}{remedy if full else ''}", "df -h . /tmp" if full else ""),
            file=sys.stderr,
        )
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
