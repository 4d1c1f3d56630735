"""The size of an environment that scores many photographs a day: workers, storage, traffic and cost.

    python -m benchmarks.scale
    python -m benchmarks.scale --daily 5000000 --set core_hour=0.03 keep_photographs=7
    python -m benchmarks.scale --update docs/scale.md

Calculates, and measures nothing: `Assumptions` has each number that goes in, and where it comes from. With
--update it writes the tables into the document instead, between their markers.
"""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from rich.console import Console

from benchmarks.population import updated

DAILY = (1_000_000, 10_000_000, 100_000_000)
_GB, _TB, _GIB = 1e9, 1e12, 2**30
MOST_PARTS = 1000
"""Parts of all waiting batches together, see dags/visage_dags/batches.py."""


def _number(value: float, text: str, source: str) -> float:
    return field(default=value, metadata={"text": text, "source": source})


@dataclass(frozen=True)
class Assumptions:
    """The numbers that the table rests on."""

    image_bytes: float = _number(8460, "bytes of an aligned photograph of 178x218 (JPEG)", "measured")
    row_bytes: float = _number(228, "bytes of a row of scores (Parquet)", "measured")
    core_seconds: float = _number(0.001, "core seconds to score an aligned photograph", "measured")
    start_core_seconds: float = _number(2.2, "core seconds to load code and model, for each task", "measured")
    task_seconds: float = _number(
        30, "seconds to start a pod and fetch the release, for each task", "assumed"
    )
    digest_bytes: float = _number(
        98, "bytes of memory that the check of drift needs for each photograph", "measured"
    )
    check_days: float = _number(28, "days that the check of drift reads", "the DAG")
    part_images: float = _number(20_000, "photographs of a task", "SCORING_PART_IMAGES")
    batches: float = _number(24, "batches a day", "assumed")
    worker_cores: float = _number(2, "cores of a worker", "assumed")
    peak: float = _number(3, "busiest hour, as a multiple of the mean", "assumed")
    keep_photographs: float = _number(30, "days that scored photographs are kept", "assumed")
    keep_scores: float = _number(365, "days that scores are kept", "assumed")
    clone_bytes: float = _number(6.6e6, "bytes of a clone of the repository", "measured")
    image_pull_bytes: float = _number(1.5e9, "bytes of the image that a node pulls", "assumed")
    images_a_month: float = _number(2, "new images of the runtime a month", "assumed")
    core_hour: float = _number(0.05, "price of a core and its memory for an hour", "assumed")
    file_month: float = _number(0.10, "price of a GB of shared files for a month", "assumed")
    always_on: float = _number(200, "price of the database and Airflow's processes for a month", "assumed")


@dataclass(frozen=True)
class Size:
    """The needs of an environment for a number of photographs a day.

    Attributes:
        daily: Photographs a day.
        tasks: Tasks of `score_faces` a day that score.
        core_hours: Of these tasks, a day.
        workers: That keep up in the busiest hour.
        photographs: Bytes of photographs that are kept.
        scores: Bytes of scores that are kept.
        pods_git: Bytes a day from the git repository, where each task has a pod.
        workers_git: The same, where workers stand and each fetches a release a day.
        registry: Bytes a month from the registry of images.
        check_memory: Bytes of memory of the check of drift.
        cost: A day.

    """

    daily: int
    tasks: int
    core_hours: float
    workers: int
    photographs: float
    scores: float
    pods_git: float
    workers_git: float
    registry: float
    check_memory: float
    cost: float


def size(daily: int, given: Assumptions) -> Size:
    """Return the needs of an environment for a number of photographs a day."""
    batch = daily / given.batches
    parts = min(math.ceil(batch / given.part_images), MOST_PARTS)
    tasks = math.ceil(given.batches * parts)
    core_seconds = daily * given.core_seconds + tasks * given.start_core_seconds
    # A worker that starts a task keeps all of its cores
    busy = core_seconds / given.worker_cores + tasks * given.task_seconds
    workers = math.ceil(busy * given.peak / 86_400)
    photographs = daily * given.image_bytes * given.keep_photographs
    scores = daily * given.row_bytes * given.keep_scores
    worker_hours = busy / 3600 * given.worker_cores
    storage = (photographs + scores) / _GB * given.file_month / 30
    return Size(
        daily=daily,
        tasks=tasks,
        core_hours=core_seconds / 3600,
        workers=workers,
        photographs=photographs,
        scores=scores,
        pods_git=tasks * given.clone_bytes,
        workers_git=workers * given.clone_bytes,
        registry=workers * given.image_pull_bytes * given.images_a_month,
        check_memory=daily * given.check_days * given.digest_bytes,
        cost=worker_hours * given.core_hour + storage + given.always_on / 30,
    )


def largest(memory: float, given: Assumptions) -> int:
    """Return the photographs a day whose check of drift fits into so many bytes of memory."""
    return int(memory / (given.check_days * given.digest_bytes))


def tables(daily: Sequence[int], given: Assumptions) -> dict[str, str]:
    """Return two Markdown tables: `assumptions` and `sizes`."""
    sizes = [size(count, given) for count in daily]
    rows = {
        "scoring tasks a day": [f"{one.tasks:,}" for one in sizes],
        "core hours of scoring a day": [f"{one.core_hours:,.1f}" for one in sizes],
        f"workers of {given.worker_cores:g} cores": [f"{one.workers:,}" for one in sizes],
        "photographs kept, TB": [f"{one.photographs / _TB:,.2f}" for one in sizes],
        "scores kept, TB": [f"{one.scores / _TB:,.2f}" for one in sizes],
        "git, a pod for each task, GB a day": [f"{one.pods_git / _GB:,.2f}" for one in sizes],
        "git, standing workers, GB a day": [f"{one.workers_git / _GB:,.2f}" for one in sizes],
        "registry of images, GB a month": [f"{one.registry / _GB:,.0f}" for one in sizes],
        "memory of the check of drift, GiB": [f"{one.check_memory / _GIB:,.1f}" for one in sizes],
        "cost a day": [f"${one.cost:,.0f}" for one in sizes],
    }
    head = " | ".join(f"{count:,}" for count in daily)
    return {
        "assumptions": "\n".join(
            [
                "| name | value | | from |",
                "|---|---:|---|---|",
                *(
                    f"| `{one.name}` | {getattr(given, one.name):,g} | {one.metadata['text']} "
                    f"| {one.metadata['source']} |"
                    for one in fields(given)
                ),
            ]
        ),
        "sizes": "\n".join(
            [
                f"| photographs a day | {head} |",
                f"|---|{'---:|' * len(daily)}",
                *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
            ]
        ),
    }


def changed(given: Assumptions, changes: Sequence[str]) -> Assumptions:
    """Return assumptions with some changed, such as `core_hour=0.03`.

    Raises:
        ValueError: there is no such assumption, or its value is no positive number.

    """
    names = {one.name for one in fields(given)}
    values: dict[str, float] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in names:
            raise ValueError(f"{change}: no assumption {name}; one of {', '.join(sorted(names))}")
        try:
            values[name] = float(text)
        except ValueError:
            raise ValueError(f"{change}: not a number; write {name}=2") from None
        if not 0 < values[name] < math.inf:
            raise ValueError(f"{change}: not above 0; write {name}=2")
    return dataclasses.replace(given, **values)


def main() -> None:
    """Print the tables, or write them into a document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--daily", type=int, nargs="+", default=DAILY, metavar="PHOTOGRAPHS")
    parser.add_argument("--set", nargs="+", default=(), metavar="NAME=VALUE", help="change assumptions")
    parser.add_argument("--update", type=Path, metavar="DOCUMENT", help="write the tables into this file")
    options = parser.parse_args()
    try:
        given = changed(Assumptions(), options.set)
    except ValueError as error:
        parser.error(str(error))
    if min(options.daily) < 1:
        parser.error("--daily: not above 0")
    made = tables(options.daily, given)
    if options.update:
        text = options.update.read_text(encoding="utf-8")
        options.update.write_text(updated(text, made), encoding="utf-8")
        return
    Console().print("\n\n".join(made.values()), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
