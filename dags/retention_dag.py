"""
# Retention

Removes photographs, scores, labels and reports that are older than the settings of this environment allow:
`RETENTION_DAYS_SCORED`, `_QUARANTINE`, `_SCORES`, `_LABELS`, `_LABELLED`, `_RUNS`, `_REPORTS`. With 0, a kind
is kept for ever. With `RETENTION_DAYS_OBJECTS`, it also removes the branches, tags and objects of trainings
that nobody needs. Then it asks the DVC remote for every object that a release of this environment needs.

No data goes while the environment has a hold or an open alarm. Photographs stay until their late labels are
gathered, and a labelled batch stays until main has it.

| data folder | content |
|---|---|
| `retention.jsonl` | a line for each run: the number of entries that went, or the reason why all stayed |
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from gitops import tasks
from visage_dags.dag_defaults import default_dag_args


@task(multiple_outputs=False, execution_timeout=timedelta(hours=1))
def remove_expired() -> dict[str, Any]:
    """Remove data that is older than it may be; return the line of the record."""
    import logging

    line = tasks.remove_expired()
    removed = ", ".join(f"{count} in {folder}/" for folder, count in line["removed"].items())
    logging.getLogger(__name__).info(
        "Removed: %s. %s", removed or "nothing", line["reason"] and f"All is kept: {line['reason']}."
    )
    return line


@task(multiple_outputs=False, execution_timeout=timedelta(hours=2), trigger_rule="all_done")
def check_storage() -> dict[str, int]:
    """Fail if the DVC remote lacks an object that a release of this environment needs."""
    return tasks.check_storage()


@dag(
    **default_dag_args("retention", due=timedelta(hours=4)),
    description="Removes data that is older than the settings of the environment allow",
    schedule="@daily",
    tags=["visage", "people"],
    doc_md=__doc__,
)
def retention() -> None:
    remove_expired() >> check_storage()


retention()
