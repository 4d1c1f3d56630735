"""
# Scoring

Scores the faces in the batches of photographs in this environment's incoming folder with the ONNX model of
the release that runs here. A batch is one folder of photographs (JPEG, PNG, WebP, HEIC). Rename the complete
folder into place, so that no run finds half a batch. A batch that is scored twice has one result. A batch
without a usable image fails its task once and does not wait any longer. A folder name may come again: the
second `upload` is kept as `upload~2`, and nothing of the first is overwritten.

| folder | content |
|---|---|
| `incoming/<batch>/` | the batches that wait |
| `scores/date=<day>/<batch>.parquet` | per face: id, place, score and decision per attribute, release |
| `scores/date=<day>/<batch>.json` | summary of the batch, which the page *Visage* of this UI shows |
| `scored/<batch>/` | the images, after scoring |
| `quarantine/<batch>/` | photographs that cannot be read or show no face, with reasons |

If `main` declares a canary, its model scores a share of the batches in place of the release's. A hash of the
name of the batch decides, so a retry has the same model. A batch that the canary cannot score, or not within
40 minutes, is scored by the release at once, and the environment ends the canary.

To score batches of a bad release again, start a run with `rescore` set to `previous`, once a good release
runs here. It takes all batches that the model before this one scored last, as far as their photographs are
kept. The notice of each has the number of decisions that changed. The new scores replace the earlier ones,
under the same day.

A run starts within seconds after a batch arrives. If a batch still waits after ten minutes, another run
starts. Without a batch, nothing runs. You may also start a run yourself.

Each scored batch is an event of the asset `scores`. The event's extra has `batch`, `rows`, `quarantined`,
`release`, and `whole`, which is false for a batch that was scored in parts. A batch that was scored again has
`changed` too: how many decisions differ from the earlier ones.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from airflow.sdk import Asset, Param, dag, get_current_context, task

from gitops import tasks
from visage_dags.dag_defaults import FROM_CONTEXT, SCORING, default_dag_args

SCORES = Asset(name="scores", uri="visage://scores")
_MINUTES, _CANARY_MINUTES = 120, 40
"""How long the scoring of a batch, or of a part of it, may take: a canary that does not end leaves time."""
INCOMING = Asset(name="incoming", uri="visage://incoming", watchers=[tasks.incoming_batches()])


@task
def find_batches(params: dict[str, Any] = FROM_CONTEXT) -> list[dict[str, str]]:
    """Return the batches that wait to be scored; of a large one, its parts."""
    import logging

    from visage_dags import batches, context, rescoring

    home, release = context.home(), context.release()
    if params["rescore"] == "previous":
        rescoring.bring_back(home, Path(_model(release)).stem)
    names = batches.waiting(home)
    logging.getLogger(__name__).info("%d batches wait: %s", len(names), ", ".join(names) or "none")
    arrivals = {name: batches.arrival(home, name) for name in names}
    fresh = [arrival for name, arrival in arrivals.items() if not rescoring.is_again(home, name)]
    picked = tasks.canary_batches(batches=fresh)
    return [
        {**part, "scored_by": picked.get(arrivals[part["batch"]], release)}
        for part in batches.parts(home, names, tasks.setting(name="SCORING_PART_IMAGES"))
    ]


@task(
    map_index_template="{{ batch }}",
    pool=SCORING,
    execution_timeout=timedelta(minutes=_MINUTES + 10),
    outlets=[SCORES],
)
def score_batch(batch: str, part: str, scored_by: str) -> str:
    """Score a batch, or a part of it, with the model of a commit: the release, or its canary.

    The last part joins them all. Return the path of the batch's scores.
    """
    import logging
    import shutil

    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    from visage_dags import batches, context, notices, rescoring, shadows

    whole = part == "1/1"
    task_context = cast("dict[str, Any]", get_current_context())
    # map_index_template shows it in the UI
    task_context["batch"] = batch if whole else f"{batch} {part}"
    log = logging.getLogger(__name__)
    release, home = context.release(), context.home()
    arrival = batches.arrival(home, batch)
    # An attempt before, or the task of another part, may have found that the canary cannot score it.
    commit = release if shadows.failure(home, scored_by, arrival) else scored_by
    target = batches.scores_path(home, batch)
    if not batches.is_waiting(home, batch):
        if target.is_file():
            raise AirflowSkipException(f"{batch}: scored already, its scores are {target}")
        raise AirflowFailException(f"{batch}: neither in {home / 'incoming'} nor among the scores")
    folder, quarantine = home / "incoming" / batch, batches.quarantine_path(home, batch)
    results = ["--quarantine", str(quarantine), "--summary", str(batches.summary_path(target))]
    mine = target if whole else batches.part_path(home, batch, commit, part)
    try:
        if whole or not mine.is_file():
            options = results if whole else ["--part", part]
            try:
                minutes = _MINUTES if commit == release else _CANARY_MINUTES
                _score(folder, commit, mine, options, minutes)
            except tasks.CommandError as error:
                if commit == release or batches.is_empty(home, batch):
                    raise
                log.error("%s: the canary %s failed, so the release scores it: %s", batch, commit[:12], error)
                shadows.note_failure(home, commit, arrival, str(error).removeprefix(f"{error.command}: "))
                commit = release
                mine = target if whole else batches.part_path(home, batch, commit, part)
                _score(folder, commit, mine, options, _MINUTES - _CANARY_MINUTES)
        if not whole:
            scored_parts = batches.claim_parts(home, batch, commit, part)
            if not scored_parts:
                raise AirflowSkipException(
                    f"{batch}: part {part} is scored; the task of the last part joins them"
                )
            files, mine = [str(path) for path in scored_parts], scored_parts[0].parent
            _face_attributes("join", str(folder), *files, "--out", str(target), *results, minutes=60)
    except tasks.CommandError as error:
        if not batches.is_empty(home, batch):
            raise
        # The next attempt, and every later run, would fail the same way.
        retired = batches.retire(home, batch)
        rescoring.end(retired)
        raise AirflowFailException(f"{error}; its files are in {quarantine} and {retired}") from error
    scored, change = batches.outcome(target, quarantine), rescoring.compare(home, batch, target)
    retired = batches.retire(home, batch)
    rescoring.end(retired)
    if not whole:
        shutil.rmtree(mine)
    task_context["outlet_events"][SCORES].extra = {
        "batch": batch,
        "rows": scored.rows,
        "quarantined": scored.quarantined,
        "release": commit,
        "whole": whole,
        **({} if change is None else {"changed": change.changed.total()}),
    }
    if commit != scored_by:
        tasks.step_down(canary=scored_by, reason=shadows.failure(home, scored_by, arrival))
    told = "" if change is None else f"{change}\n"
    notices.notify(
        f"scored {batch}" if change is None else f"scored {batch} again",
        f"{told}{scored.rows} images are scored: {target}\n"
        f"{scored.quarantined} are in quarantine: {quarantine}\n"
        f"The images lie in {retired}",
    )
    return str(target)


def _score(folder: Path, commit: str, out: Path, options: list[str], minutes: float) -> None:
    import logging

    model = _model(commit)
    logging.getLogger(__name__).info(
        "Scoring %s with release %s, model %s.", folder.name, commit[:12], Path(model).stem[:12]
    )
    command = ["--model", model, "--release", commit, "--out", str(out), *options]
    _face_attributes("score", str(folder), *command, minutes=minutes)


def _model(commit: str) -> str:
    from airflow.sdk.exceptions import AirflowException

    model = tasks.fetch_model(release=commit)
    if not model:
        raise AirflowException(f"{commit[:12]}: this release has no model yet; train one")
    return model


def _face_attributes(*arguments: str, minutes: float) -> None:
    from visage_dags import context

    command = ["python", "-m", "face_attributes", *arguments]
    tasks.call(command=command, folder=str(context.CHECKOUT), minutes=minutes)


@dag(
    **default_dag_args("score_faces", due=timedelta(hours=3)),
    description="Scores incoming batches with the release's model",
    schedule=[INCOMING],
    params={
        "rescore": Param(
            "none",
            enum=["none", "previous"],
            description="previous: score the batches of the model before this one again",
        )
    },
    tags=["visage", "scoring"],
    doc_md=__doc__,
)
def score_faces() -> None:
    score_batch.expand_kwargs(find_batches())


score_faces()
