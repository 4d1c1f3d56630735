"""
# Scoring

Scores the batches of face images that arrived in this environment's incoming folder with the ONNX model of
the release that runs here. A batch is one folder of JPEG files; move it in whole (rename), so that it is
complete when it appears. A batch that is scored twice has one result.

| folder | holds |
|---|---|
| `incoming/<batch>/` | what waits |
| `scores/date=<day>/<batch>.parquet` | per image: id, score and decision per attribute, model, release |
| `scored/<batch>/` | the images, after scoring |
| `quarantine/<batch>/` | images that could not be read, with the reasons |
"""

from datetime import timedelta

from airflow.sdk import Asset, dag, get_current_context, task

from visage_dags.conduct import house

SCORES = Asset(name="scores", uri="visage://scores")


@task
def find_batches() -> list[str]:
    """Name the batches that wait to be scored."""
    import logging

    from visage_dags import batches, place

    found = batches.waiting(place.home())
    logging.getLogger(__name__).info("%d batches wait: %s", len(found), ", ".join(found) or "none")
    return found


@task(
    map_index_template="{{ batch }}",
    max_active_tis_per_dag=1,
    execution_timeout=timedelta(hours=2),
    outlets=[SCORES],
)
def score_batch(batch: str) -> str:
    """Score one batch and return the path of its scores."""
    import logging

    from gitops.model import fetch_model
    from gitops.step import call
    from visage_dags import batches, place

    get_current_context()["batch"] = batch  # what map_index_template shows in the UI
    log = logging.getLogger(__name__)
    release = place.release()
    model = fetch_model(place.origin(), release, cache=place.home() / "models")
    target = batches.scores_path(place.home(), batch)
    log.info("Scoring %s with release %s, model %s.", batch, release[:12], model.stem[:12])
    call(
        [
            *("python", "-m", "face_attributes", "score", str(place.home() / "incoming" / batch)),
            *("--model", str(model), "--release", release, "--out", str(target)),
            *("--quarantine", str(place.home() / "quarantine" / batch)),
        ],
        place.RELEASE_ROOT,
        timedelta(hours=2),
    )
    retired = batches.retire(place.home(), batch)
    log.info("Scores: %s; images: %s", target, retired)
    return str(target)


@dag(
    **house("score_faces"),
    description="Scores what arrived with the release's model",
    schedule=timedelta(minutes=1),
    tags=["visage", "scoring"],
    doc_md=__doc__,
)
def score_faces() -> None:
    score_batch.expand(batch=find_batches())


score_faces()
