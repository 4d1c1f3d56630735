"""False alarm rate and power of the drift check.

    python -m benchmarks.drift
    python -m benchmarks.drift --update benchmarks/results/drift.md
    python -m benchmarks.drift --photographs CELEBA_DIR --update benchmarks/results/drift.md

Run `dvc repro` first. The benchmark draws faces like those that the model was trained on, and scores them.
From these it draws weeks of seven days again and again, and checks each as monitoring does: the share of
weeks with an alarm is the rate of false alarms. It does the same with the renderer's knobs turned: the
share of weeks with an alarm is the power. For comparison it asks Evidently about the same weeks, with the
tests that Evidently chooses by itself. --update writes the tables between their markers in the document,
and the plot beside it.

With --photographs the same is measured on CelebA's photographs, with other people in the days than in the
reference (see `photographs`). The model must then be trained on photographs too (data.source celeba).
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from joblib import cpu_count

from benchmarks import drift_plot, photographs
from benchmarks.population import updated
from benchmarks.weeks import Columns, Known, Rates, WeekResult, at_most, columns, groups, say
from drawn_faces import SyntheticParams
from face_attributes.common.paths import MODEL, REFERENCE
from face_attributes.data.drawn_folder import draw_folder
from face_attributes.evaluation import reference
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring.score import score

WEEKS = 500  # resamples of a case without drift
DRIFTED_WEEKS = 100  # and of one with drift
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


def main() -> None:
    """Draw, check, and print or write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", type=Path, metavar="DOCUMENT", help="write the tables into this file")
    parser.add_argument("--photographs", type=Path, metavar="CELEBA_DIR", help="measure on photographs")
    parser.add_argument("--work", type=Path, help="folder to keep the scores in, to go on from them")
    options = parser.parse_args()
    model = Model(MODEL)
    known = reference.read(REFERENCE, model.sha256)
    names = reference.watched(known)
    release = Known(columns(known, names), reference.Population(reference.WHOLE, known).people())
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        work = options.work or Path(folder)
        plot = None
        # Not forked: ONNX Runtime has threads by then
        with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
            if options.photographs:
                spread = partial(_spread, pool, evidently=False)
                tables = photographs.measure(options.photographs, work, model.sha256, release, spread)
            else:
                scores = partial(_scored, work, model.sha256, names)
                tables, plot = _measure(scores, release, partial(_spread, pool))
    if options.update:
        text = options.update.read_text(encoding="utf-8")
        options.update.write_text(updated(text, tables), encoding="utf-8")
        if plot is not None:
            options.update.with_name("drift.svg").write_text(plot, encoding="utf-8")
    else:
        print("\n\n".join(tables.values()))


def _measure(
    scores: Callable[..., Columns],
    known: Known,
    spread: Callable[[Columns, int, Known | int, int], list[WeekResult]],
) -> tuple[dict[str, str], str]:
    calm = scores("calm", POOL, SEED, {})
    rows = len(known)
    quiet = {}
    for a_day in A_DAY:
        for title, expected in (("the release's own", known), ("redrawn each week", rows)):
            quiet[a_day, title] = Rates.of(spread(calm, a_day, expected, WEEKS))
    power: dict[str, dict[str, dict[str, float]]] = {}
    seen_by: dict[str, dict[str, str]] = {}
    seed = SEED
    for knob, levels in KNOBS.items():
        power[knob], seen_by[knob] = {}, {}
        for level, change in levels.items():
            seed += 1
            pool = scores(f"{knob} {level}", DRIFTED_POOL, seed, change)
            results = {a_day: spread(pool, a_day, known, DRIFTED_WEEKS) for a_day in DRIFTED_A_DAY}
            rates = {a_day: Rates.of(some) for a_day, some in results.items()}
            largest = rates[max(DRIFTED_A_DAY)]
            power[knob][level] = {
                **{f"{a_day} images a day": rate.ours / rate.weeks for a_day, rate in rates.items()},
                "Evidently, half of the columns": largest.evidently_half / largest.weeks,
            }
            seen_by[knob][level] = groups(results[max(DRIFTED_A_DAY)])
    return {"quiet": _quiet(quiet, rows), "power": _power(power, seen_by)}, drift_plot.draw(power)


def _spread(
    pool: ProcessPoolExecutor,
    columns: Columns,
    a_day: int,
    expected: Known | int,
    weeks: int,
    *,
    evidently: bool = True,
) -> list[WeekResult]:
    parts = np.array_split(np.arange(weeks), 2 * cpu_count())
    run = partial(say, columns, a_day, expected, evidently=evidently)
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
    return columns(pq.read_table(out), names)


def _quiet(quiet: Mapping[tuple[int, str], Rates], rows: int) -> str:
    lines = [
        "| images a day | reference | weeks | with a false alarm | at most, with 95 % confidence | "
        "Evidently's defaults: some column | half of the columns |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for (a_day, title), rates in quiet.items():
        bound = at_most(rates.ours, rates.weeks)
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
