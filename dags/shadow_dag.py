"""
# A shadow

Tries another model beside the release that runs here, on this environment's own batches. `gitops shadow ENV
COMMIT` proposes it: a line `shadow` in the release file. Without that line, and without a canary, every run
ends after its first task, skipped.

The code of the release runs the other model, and no code of the shadow's commit runs here. The results lie in
`shadows/<commit>/`, which monitoring does not read. A batch that the shadow cannot score is counted and noted
in `shadows/<commit>/failed/`. It fails no task, and the scores of the release stay as they are. The shadow
gives way to other processes on its cores.

The answer is the signed tag `shadowed/<env>/<commit>`: for each attribute how often both models agree and how
far their scores are apart, the latency of both, the failures, and with late labels the comparison by which
the gates judge a model.

A canary is compared in the same way: of a batch that it answered, the release's model scores the photographs
too. If the canary fails, is too slow, or is worse by the gates, this DAG rejects it with a signed tag, and
the release answers everything again.

A run starts when a batch has been scored, and also within half a minute after a trial began, or the online
service kept photographs or noted a failure of its canary. It takes up to 20 batches, the newest first; after
an hour it leaves the rest to the next run. Batches that are left start one after ten minutes.
"""

from datetime import timedelta

from airflow.sdk import Asset, dag, task

from gitops import tasks
from visage_dags.dag_defaults import SHADOW, default_dag_args

SCORES = Asset(name="scores", uri="visage://scores")
UNTRIED = Asset(name="untried", uri="visage://untried", watchers=[tasks.untried_batches()])


@task(multiple_outputs=False, pool=SHADOW, execution_timeout=timedelta(hours=3))
def score_batches() -> dict[str, str]:
    """Score batches with the model of the shadow; return the commits and the models of both."""
    import logging
    import time
    from pathlib import Path

    from airflow.sdk.exceptions import AirflowSkipException

    from visage_dags import context, shadows

    log = logging.getLogger(__name__)
    home, release, shadow = context.home(), context.release(), tasks.shadow()
    if not shadow:
        raise AirflowSkipException("main declares no shadow for this environment")
    incumbent, model = tasks.fetch_model(release=release), tasks.fetch_model(release=shadow)
    if not (incumbent and model) or incumbent == model:
        raise AirflowSkipException(f"{shadow[:12]} has no other model than the release {release[:12]}")
    shadows.keep_only(home, shadow)
    new, old = Path(model).stem, Path(incumbent).stem
    by = {old: (model, shadow)}
    if canary := tasks.canary():
        by[new] = (incumbent, release)
    waiting = shadows.waiting(home, shadow, by)
    if not (waiting or shadows.failures(home, shadow)):
        raise AirflowSkipException(f"the shadow {shadow[:12]} has scored every batch")
    enough = time.monotonic() + timedelta(hours=1).total_seconds()
    for scores, digest in waiting:
        if time.monotonic() > enough:
            log.warning("%s is slow: the next run takes the other batches.", shadow[:12])
            break
        photographs = shadows.photographs(home, scores)
        out = shadows.scores_path(home, shadow, scores)
        out.parent.mkdir(parents=True, exist_ok=True)
        other, commit = by[digest]
        options = ["--model", other, "--release", commit, "--out", str(out)]
        try:
            _face_attributes("score", str(photographs), *options, first=("nice", "-n", "10"))
        except tasks.CommandError as error:
            if not photographs.is_dir():
                continue  # They were removed meanwhile, which is no fault of the shadow.
            log.error("%s: %s failed: %s", photographs.name, commit[:12], error)
            notes = "failed" if commit == shadow else "unpaired"
            reason = str(error).removeprefix(f"{error.command}: ")
            shadows.note_failure(home, shadow, photographs.name, reason, notes=notes)
    since = canary.get("since", "")
    return {"shadow": shadow, "release": release, "model": model, "incumbent": incumbent, "since": since}


@task(pool=SHADOW, execution_timeout=timedelta(hours=1))
def report(tried: dict[str, str]) -> None:
    """Compare both models on all batches that both scored, and push the result as a signed tag."""
    from pathlib import Path

    from visage_dags import context, notices, shadows

    home, shadow = context.home(), tried["shadow"]
    failures, figures = shadows.failures(home, shadow), None
    if shadows.has_scores(home, shadow):
        out = shadows.folder(home, shadow) / "report.json"
        places = [str(home / "scores"), "--shadow", str(shadows.folder(home, shadow))]
        models = ["--model", tried["model"], "--incumbent", tried["incumbent"]]
        labels = ["--labels", str(home / "labels")] if (home / "labels").is_dir() else []
        since = ["--since", tried["since"]] if tried["since"] else []
        _face_attributes("shadow", *places, *models, *labels, *since, "--out", str(out))
        figures = shadows.figures(out)
    published = tasks.publish_shadow(
        release=shadow,
        incumbent=tried["release"],
        models=[Path(tried[name]).stem for name in ("model", "incumbent")],
        failed=len(failures),
        reason=failures[-1] if failures else "",
        figures=figures,
    )
    notices.notify(published["tag"], published["message"])


def _face_attributes(*arguments: str, first: tuple[str, ...] = ()) -> None:
    from visage_dags import context

    command = [*first, "python", "-m", "face_attributes", *arguments]
    tasks.call(command=command, folder=str(context.CHECKOUT), minutes=60)


@dag(
    **default_dag_args("score_shadow", due=timedelta(hours=6)),
    description="Tries the model of another commit beside the release, on this environment's own batches",
    schedule=(SCORES | UNTRIED),
    tags=["visage", "scoring"],
    doc_md=__doc__,
)
def score_shadow() -> None:
    report(score_batches())


score_shadow()
