from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import scale as benchmark
from benchmarks.population import updated
from benchmarks.scale import Assumptions, changed, largest, size
from visage_dags import batches, monitoring

DOCUMENT = Path(__file__).parents[2] / "docs/scale.md"
GIVEN = Assumptions()
ROUND = replace(
    GIVEN,
    image_bytes=10_000,
    row_bytes=200,
    core_seconds=0.001,
    start_core_seconds=2,
    task_seconds=30,
    digest_bytes=100,
    check_days=28,
    part_images=20_000,
    batches=10,
    worker_cores=2,
    peak=2,
    keep_photographs=30,
    keep_scores=100,
    clone_bytes=5e6,
    image_pull_bytes=1e9,
    images_a_month=2,
    core_hour=0.1,
    file_month=0.3,
    always_on=300,
)


def test_tables_in_the_docs_are_what_is_calculated() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    made = benchmark.tables(benchmark.DAILY, GIVEN)
    assert updated(text, made) == text, "run python -m benchmarks.scale --update docs/scale.md"


def test_a_million_photographs_by_hand() -> None:
    found = size(1_000_000, ROUND)
    # Ten batches of 100,000, each of five parts
    assert found.tasks == 50
    assert found.core_hours == pytest.approx((1000 + 100) / 3600)
    assert found.photographs == 30 * 1_000_000 * 10_000
    assert found.scores == 100 * 1_000_000 * 200
    assert found.pods_git == 50 * 5e6
    assert found.check_memory == 28 * 1_000_000 * 100
    # 1,100 core seconds on two cores, and 50 starts of 30 seconds
    busy = 550 + 1500
    assert found.workers == 1
    assert found.workers_git == 5e6
    assert found.registry == 2e9
    storage = (300 + 20) * 0.3 / 30
    assert found.cost == pytest.approx(busy / 3600 * 2 * 0.1 + storage + 10)


def test_workers_keep_up_in_the_busiest_hour() -> None:
    found = size(100_000_000, ROUND)
    busy = (100_000 + found.tasks * 2) / 2 + found.tasks * 30
    assert found.tasks == 5000
    assert (found.workers - 1) * 86_400 < busy * 2 <= found.workers * 86_400


def test_more_parts_than_airflow_makes_are_larger() -> None:
    assert size(10**9, replace(ROUND, batches=1)).tasks == 1000
    assert benchmark.MOST_PARTS == batches.MOST_PARTS


def test_the_number_of_days_is_that_of_the_dag() -> None:
    assert GIVEN.check_days == monitoring.DRIFT_DAYS


@pytest.mark.parametrize("memory", [2 * 2**30, 6 * 2**30])
def test_the_largest_size_fits_its_memory(memory: int) -> None:
    most = largest(memory, GIVEN)
    assert size(most, GIVEN).check_memory <= memory < size(most + 1, GIVEN).check_memory
    assert f"{largest(6 * 2**30, GIVEN) / 1e6:.1f} million photographs a day in 6 GiB" in DOCUMENT.read_text()


def test_an_assumption_can_be_changed() -> None:
    assert changed(GIVEN, ["core_hour=0.03"]).core_hour == 0.03
    assert size(10**6, changed(GIVEN, ["core_hour=5"])).cost > size(10**6, GIVEN).cost


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("cores=2", "no assumption cores; one of always_on, "),
        ("core_hour=much", "not a number; write core_hour=2"),
        ("core_hour=0", "not above 0"),
        ("core_hour=nan", "not above 0"),
        ("core_hour=inf", "not above 0"),
    ],
)
def test_a_wrong_assumption_is_refused(change: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        changed(GIVEN, [change])
