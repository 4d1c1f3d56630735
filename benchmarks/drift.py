"""How often the drift check cries wolf, and what it sees.

    python -m benchmarks.drift
    python -m benchmarks.drift --update docs/monitoring.md

Needs what `dvc repro` makes. Draws faces as the model was trained on and scores them; then weeks of seven
days are drawn from these again and again, and each is checked as monitoring does it: how many of these weeks
have an alarm is the rate of false alarms. The same for faces that were drawn with the renderer's knobs
turned: how many weeks have an alarm is the power. Beside it what Evidently says of the same weeks when its
tests are left to itself. With --update tables and plot go into the document, between its markers, and beside
it.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from joblib import cpu_count
from scipy import stats

from benchmarks import drift_plot
from benchmarks.population import updated
from face_attributes import column_tests, drift, reference
from face_attributes.column_tests import NUMBERS, SHARES
from face_attributes.image_statistics import STATISTICS
from face_attributes.model import Model
from face_attributes.paths import MODEL, REFERENCE
from face_attributes.score import score
from face_attributes.synthetic import SyntheticParams, draw_folder

DAYS = 7
WEEKS = 1000  # resamples of a case without drift
DRIFTED_WEEKS = 300  # and of one with drift
A_DAY = (100, 300, 1000)  # images
DRIFTED_A_DAY = (100, 200)
POOL, DRIFTED_POOL = 12_000, 1_500  # faces that are drawn
SEED = 4000
KNOBS: dict[str, dict[str, dict[str, object]]] = {
    "light": {str(value): {"light": value} for value in (0.97, 0.94, 0.9, 0.8)},
    "blur": {str(value): {"blur": value} for value in (0.2, 0.4, 0.6, 1.0)},
    "noise": {str(value): {"noise": float(value)} for value in (1, 2, 3, 5)},
    "pose": {str(value): {"pose": value} for value in (1.1, 1.25, 1.5, 2.0)},
    "share of Eyeglasses": {
        f"{value:.0%}": {"marginals": {"Eyeglasses": value}} for value in (0.1, 0.15, 0.2, 0.3)
    },
}
# What Evidently takes for numbers and for two values, of a reference of up to 1,000 rows and of more.
EVIDENTLY_ROWS = 1000
EVIDENTLY_P, EVIDENTLY_DISTANCE = 0.05, 0.1
EVIDENTLY_SHARE = 0.5  # of the columns: then the data set has drifted

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Said:
    """What is said of a week: the columns with an alarm, and those that Evidently finds, of how many."""

    ours: tuple[str, ...]
    evidently: tuple[str, ...]
    columns: int


class Checker:
    """Checks weeks against a reference as `drift` does, without computing what does not decide."""

    def __init__(self, expected: Columns) -> None:
        self._expected = {name: np.sort(values) for name, values in expected.items()}

    def ours(self, days: Sequence[Columns]) -> tuple[str, ...]:
        """Return the columns that differ on at least two of the days."""
        count = len(self._expected)
        return tuple(
            name
            for name in self._expected
            if sum(self._differs(name, day[name], count) for day in days) >= drift.ALARM_AFTER
        )

    def evidently(self, week: Columns) -> tuple[str, ...]:
        """Return the columns that Evidently's own choice of tests finds in all rows of a week together."""
        return tuple(name for name, expected in self._expected.items() if _default(week[name], expected))

    def _differs(self, name: str, found: np.ndarray, count: int) -> bool:
        expected = self._expected[name]
        test = column_tests.of(expected)
        if test is NUMBERS and not significant(found, expected, drift.ALPHA / count):
            return False
        return drift.differs(*test.measure(found, expected), test, count)


def _default(found: np.ndarray, expected: np.ndarray) -> bool:
    test = column_tests.of(expected)
    if len(expected) > EVIDENTLY_ROWS:
        return test.measure(found, expected)[1] >= EVIDENTLY_DISTANCE
    if test is NUMBERS:
        return significant(found, expected, EVIDENTLY_P)
    return SHARES.measure(found, expected)[0] < EVIDENTLY_P


def significant(found: np.ndarray, expected: np.ndarray, alpha: float) -> bool:
    """Say whether the Kolmogorov-Smirnov test's p-value is at most alpha, mostly without computing it."""
    low, high = _critical(len(found), len(expected), alpha)
    statistic = _statistic(found, expected)
    if low < statistic < high:
        return bool(stats.ks_2samp(expected, found).pvalue <= alpha)
    return statistic >= high


def _statistic(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest distance of two distribution functions; `expected` is in order."""
    found = np.sort(found)
    points = np.concatenate([found, expected])
    ours, theirs = (np.searchsorted(some, points, side="right") / len(some) for some in (found, expected))
    return float(np.abs(ours - theirs).max())


@cache
def _critical(found: int, expected: int, alpha: float) -> tuple[float, float]:
    """Return a statistic that is surely not significant, and one that surely is, next to each other."""
    ones = np.ones(expected)

    def p_value(steps: int) -> float:
        return float(stats.ks_2samp(ones, np.repeat((0.0, 1.0), (steps, found - steps))).pvalue)

    low, high = 0, found
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if p_value(middle) <= alpha else (middle, high)
    # A statistic is a sum of fractions, which are not exact
    return low / found + 1e-9, high / found - 1e-9


def week(
    random: np.random.Generator, pool: Columns, a_day: int, expected: Columns | int
) -> tuple[list[Columns], Columns]:
    """Return seven days from a pool, no image twice, and what to hold them against.

    `expected`: the reference, or how many other images of the pool are to be one.
    """
    anew = expected if isinstance(expected, int) else 0
    size = len(next(iter(pool.values())))
    chosen = random.permutation(size)[: DAYS * a_day + anew]
    days = [
        {name: values[chosen[day * a_day : (day + 1) * a_day]] for name, values in pool.items()}
        for day in range(DAYS)
    ]
    rest = chosen[DAYS * a_day :]
    drawn = {name: values[rest] for name, values in pool.items()}
    return days, drawn if isinstance(expected, int) else expected


def say(pool: Columns, a_day: int, expected: Columns | int, seeds: Sequence[int]) -> list[Said]:
    """Check a week for each seed."""
    checker = Checker(expected) if not isinstance(expected, int) else None
    found = []
    for seed in seeds:
        days, against = week(np.random.default_rng([seed, a_day]), pool, a_day, expected)
        one = checker or Checker(against)
        whole = {name: np.concatenate([day[name] for day in days]) for name in pool}
        found.append(Said(one.ours(days), one.evidently(whole), len(pool)))
    return found


@dataclass(frozen=True)
class Rates:
    """In how many of the weeks something is said."""

    weeks: int
    ours: int
    evidently: int
    evidently_half: int

    @classmethod
    def of(cls, said: Sequence[Said]) -> "Rates":
        return cls(
            len(said),
            sum(bool(one.ours) for one in said),
            sum(bool(one.evidently) for one in said),
            sum(len(one.evidently) >= EVIDENTLY_SHARE * one.columns for one in said),
        )


def main() -> None:
    """Draw, check, and print or write what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", type=Path, metavar="DOCUMENT", help="write the tables into this file")
    parser.add_argument("--work", type=Path, help="folder to keep the scores in, to go on from them")
    options = parser.parse_args()
    model = Model(MODEL)
    known = reference.read(REFERENCE, model.sha256)
    names = reference.watched(known)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        scores = partial(_scored, options.work or Path(folder), model.sha256, names)
        # Not forked: ONNX Runtime has threads by then
        with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
            tables, plot = _measure(scores, _columns(known, names), partial(_spread, pool))
    if options.update:
        text = options.update.read_text(encoding="utf-8")
        options.update.write_text(updated(text, tables), encoding="utf-8")
        options.update.with_name("drift.svg").write_text(plot, encoding="utf-8")
    else:
        print("\n\n".join(tables.values()))


def _measure(
    scores: Callable[..., Columns],
    known: Columns,
    spread: Callable[[Columns, int, Columns | int, int], list[Said]],
) -> tuple[dict[str, str], str]:
    calm = scores("calm", POOL, SEED, {})
    rows = len(next(iter(known.values())))
    quiet = {}
    for a_day in A_DAY:
        for title, expected in (("the release's own", known), ("drawn anew", rows)):
            quiet[a_day, title] = Rates.of(spread(calm, a_day, expected, WEEKS))
    power: dict[str, dict[str, dict[str, float]]] = {}
    seen_by: dict[str, dict[str, str]] = {}
    seed = SEED
    for knob, levels in KNOBS.items():
        power[knob], seen_by[knob] = {}, {}
        for level, change in levels.items():
            seed += 1
            pool = scores(f"{knob} {level}", DRIFTED_POOL, seed, change)
            said = {a_day: spread(pool, a_day, known, DRIFTED_WEEKS) for a_day in DRIFTED_A_DAY}
            rates = {a_day: Rates.of(some) for a_day, some in said.items()}
            largest = rates[max(DRIFTED_A_DAY)]
            power[knob][level] = {
                **{f"{a_day} images a day": rate.ours / rate.weeks for a_day, rate in rates.items()},
                "Evidently, half of the columns": largest.evidently_half / largest.weeks,
            }
            seen_by[knob][level] = _groups(said[max(DRIFTED_A_DAY)])
    return {"quiet": _quiet(quiet, rows), "power": _power(power, seen_by)}, drift_plot.draw(power)


def _spread(
    pool: ProcessPoolExecutor, columns: Columns, a_day: int, expected: Columns | int, weeks: int
) -> list[Said]:
    parts = np.array_split(np.arange(weeks), 2 * cpu_count())
    run = partial(say, columns, a_day, expected)
    return [one for some in pool.map(run, [part.tolist() for part in parts]) for one in some]


def _scored(
    work: Path, model_sha256: str, names: Sequence[str], name: str, count: int, seed: int, change: dict
) -> Columns:
    """Return the columns of freshly drawn faces."""
    out = work / f"{name.replace(' ', '-')}-{model_sha256[:12]}.parquet"
    if not out.exists():
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            params = SyntheticParams(count=count, seed=seed, **change)
            draw_folder(params, Path(folder), progress=False)
            score(Path(folder) / "img_align_celeba", MODEL, out)
    return _columns(pq.read_table(out), names)


def _columns(table: pa.Table, names: Sequence[str]) -> Columns:
    return {name: table.column(name).to_numpy() for name in names}


def _groups(said: Sequence[Said]) -> str:
    """Return which kinds of columns have an alarm in most of the weeks that have one."""
    alarmed = [one for one in said if one.ours]
    counts: dict[str, int] = {}
    for one in alarmed:
        for group in {_group(name) for name in one.ours}:
            counts[group] = counts.get(group, 0) + 1
    return ", ".join(sorted(group for group, count in counts.items() if 2 * count >= len(alarmed)))


def _group(name: str) -> str:
    if name in STATISTICS:
        return name
    if name.endswith("_score"):
        return "scores"
    return "embedding" if name.startswith("embedding_") else "decisions"


def _quiet(quiet: Mapping[tuple[int, str], Rates], rows: int) -> str:
    lines = [
        "| images a day | reference | weeks | with a false alarm | at most, with 95 % confidence | "
        "Evidently's defaults: some column | half of the columns |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for (a_day, title), rates in quiet.items():
        bound = stats.beta.ppf(0.95, rates.ours + 1, rates.weeks - rates.ours)
        lines.append(
            f"| {a_day} | {title}, {rows} rows | {rates.weeks} | **{rates.ours / rates.weeks:.1%}** | "
            f"{bound:.1%} | {rates.evidently / rates.weeks:.0%} | {rates.evidently_half / rates.weeks:.1%} |"
        )
    return "\n".join(lines)


def _power(
    power: Mapping[str, Mapping[str, Mapping[str, float]]], seen_by: Mapping[str, Mapping[str, str]]
) -> str:
    series = list(next(iter(next(iter(power.values())).values())))
    lines = [
        f"| knob | | {' | '.join(series)} | seen in |",
        f"|---|---:|{'---:|' * len(series)}---|",
    ]
    for knob, levels in power.items():
        for level, rates in levels.items():
            shown = " | ".join(f"{rate:.0%}" for rate in rates.values())
            lines.append(f"| {knob} | {level} | {shown} | {seen_by[knob][level] or '-'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    # One thread a process: there are as many processes as cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
