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

A run starts within seconds after a batch arrives. If a batch still waits after ten minutes, another run
starts. Without a batch, nothing runs. You may also start a run yourself.

Each scored batch is an event of the asset `scores`. The event's extra has `batch`, `rows` and `release`.
"""

from datetime import timedelta
from typing import Any, cast

from airflow.sdk import Asset, dag, get_current_context, task

from gitops import tasks
from visage_dags.dag_defaults import SCORING, default_dag_args

SCORES = Asset(name="scores", uri="visage://scores")
INCOMING = Asset(name="incoming", uri="visage://incoming", watchers=[tasks.incoming_batches()])


@task
def find_batches() -> list[str]:
    """Return the names of the batches that wait to be scored."""
    import logging

    from visage_dags import batches, context

    names = batches.waiting(context.home())
    logging.getLogger(__name__).info("%d batches wait: %s", len(names), ", ".join(names) or "none")
    return names


@task(
    map_index_template="{{ batch }}",
    pool=SCORING,
    execution_timeout=timedelta(hours=2),
    outlets=[SCORES],
)
def score_batch(batch: str) -> str:
    """Score one batch and return the path of its scores."""
    import logging
    from pathlib import Path

    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

    from visage_dags import batches, context, notices

    task_context = cast("dict[str, Any]", get_current_context())
    task_context["batch"] = batch  # map_index_template shows it in the UI
    log = logging.getLogger(__name__)
    release, home = context.release(), context.home()
    target = batches.scores_path(home, batch)
    if not batches.is_waiting(home, batch):
        if target.is_file():
            raise AirflowSkipException(f"{batch}: scored already, its scores are {target}")
        raise AirflowFailException(f"{batch}: neither in {home / 'incoming'} nor among the scores")
    model = tasks.fetch_model(release=release)
    if not model:
        raise AirflowException(f"{release[:12]}: this release has no model yet; train one")
    log.info("Scoring %s with release %s, model %s.", batch, release[:12], Path(model).stem[:12])
    quarantine = batches.quarantine_path(home, batch)
    try:
        tasks.call(
            command=[
                *("python", "-m", "face_attributes", "score", str(home / "incoming" / batch)),
                *("--model", model, "--release", release, "--out", str(target)),
                *("--quarantine", str(quarantine), "--summary", str(batches.summary_path(target))),
            ],
            folder=str(context.CHECKOUT),
            minutes=120,
        )
    except tasks.CommandError as error:
        if not batches.is_empty(home, batch):
            raise
        # The next attempt, and every later run, would fail the same way.
        retired = batches.retire(home, batch)
        raise AirflowFailException(f"{error}; its files are in {quarantine} and {retired}") from error
    scored = batches.outcome(target)
    retired = batches.retire(home, batch)
    task_context["outlet_events"][SCORES].extra = {"batch": batch, "rows": scored.rows, "release": release}
    notices.notify(
        f"scored {batch}",
        f"{scored.rows} images are scored: {target}\n{scored.quarantined} are in quarantine: {quarantine}\n"
        f"The images lie in {retired}",
    )
    return str(target)


@dag(
    **default_dag_args("score_faces", due=timedelta(hours=3)),
    description="Scores incoming batches with the release's model",
    schedule=[INCOMING],
    tags=["visage", "scoring"],
    doc_md=__doc__,
)
def score_faces() -> None:
    score_batch.expand(batch=find_batches())


score_faces()
