"""
# Verification

Every environment verifies the release that it runs. It scores the release's own hold-out images with the
promoted model, on this environment's ONNX Runtime, and compares the accuracy with the release's claim
(`metrics/evaluation.json`).

Then `watch_health` waits for HEALTH_MINUTES. The environment meanwhile compares the release with the one
before: import errors, failed runs and tasks, missed deadlines, the throughput of scoring, and the share of
images in quarantine. It rejects a release that does worse.

The verdict is an annotated tag on the commit, `verified/<env>/<sha12>` or `rejected/<env>/<sha12>`, whose
message has the metrics. An environment stops running a release that it rejected, and goes back to the last
release that it verified. A promotion requires the verified tags of the environments before.

An environment verifies a release, or an equal one, once. A run starts within seconds after the release begins
to run here. If there is no verdict after 15 seconds, another run starts. A run of a release with a verdict
ends after `find_release`, skipped.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, dag, task

from gitops import tasks
from visage_dags.dag_defaults import VERIFICATION, default_dag_args

UNVERIFIED = Asset(name="unverified", uri="visage://unverified", watchers=[tasks.unverified_release()])


@task
def find_release() -> str:
    """Return the release that runs here; skip the run if the release already has a verdict."""
    import logging

    from airflow.sdk.exceptions import AirflowSkipException

    from visage_dags import context

    log = logging.getLogger(__name__)
    release = context.release()
    if reason := tasks.unverified(release=release):
        raise AirflowSkipException(f"{release[:12]}: {reason}")
    log.info("%s has no verdict in %s yet: verifying it.", release, tasks.environment())
    return release


@task(multiple_outputs=False, execution_timeout=timedelta(hours=2), pool=VERIFICATION)
def score_holdout(release: str) -> dict[str, Any]:
    """Score the release's hold-out set with its model in this environment; return the verdict."""
    import logging

    verdict = tasks.verify(release=release)
    logging.getLogger(__name__).info(
        "Claimed accuracy %s, measured %s on %d images: %s.",
        *(verdict["claimed_accuracy"], verdict["measured_accuracy"], verdict["samples"]),
        verdict["reason"] or "the claim holds",
    )
    return verdict


@task
def record_verdict(verdict: dict[str, Any]) -> None:
    """Push the verdict as a tag and send a notice; a rejection also fails the run."""
    from airflow.sdk.exceptions import AirflowFailException

    from visage_dags import notices

    published = tasks.publish_verdict(verdict=verdict)
    if published["reason"]:
        way = tasks.rollback_instructions(environment=verdict["environment"])
        raise AirflowFailException(f"{published['tag']}: {published['reason']}\n\n{way}")
    notices.notify(published["tag"], published["message"])


@dag(
    **default_dag_args(
        "verify_release", due=timedelta(hours=1, minutes=tasks.setting(name="HEALTH_MINUTES"))
    ),
    description="Verifies the accuracy of the release that runs here, and pushes the verdict as a tag",
    schedule=[UNVERIFIED],
    tags=["visage", "release"],
    doc_md=__doc__,
)
def verify_release() -> None:
    watch = tasks.watch_health(verdict=score_holdout(find_release()))
    record_verdict(watch.output)


verify_release()
