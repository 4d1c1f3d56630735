"""Simulate weeks of scores: false alarms of monitoring, and the power of its joint test.

    python -m benchmarks.joint
    python -m benchmarks.joint --update benchmarks/results/drift.md

The images come from `benchmarks.score_population`. Each reference is another release's, with some weeks. An
alarm is one of the columns' tests or of the joint test, as in `face_attributes.monitoring.drift`.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.population import updated
from benchmarks.score_population import Images, Population, tilted
from benchmarks.weeks import DAYS, Checker, Columns, Known, at_most
from face_attributes.monitoring import drift

_SHARES = (0.06, 0.25, 0.43, 0.48)
_POINTS = 0.1


@dataclass(frozen=True)
class Case:
    """Images a day, images of the reference, images of each person, and whether the people are known.

    `repeated` images come again on later days. The check counts them once, so fewer remain. The people of the
    reference and of each week are `alike`, see `Population.images`.
    """

    a_day: int
    reference: int
    each: int = 1
    known: bool = True
    repeated: float = 0.0
    alike: float = 1.0


CASES = (
    *(Case(a_day, rows) for rows in (500, 2000) for a_day in (100, 300, 1000, 10_000)),
    *(Case(a_day, 20_000) for a_day in (100, 10_000)),
    *(Case(a_day, 2000, each=5) for a_day in (100, 300, 1000, 10_000)),
    Case(1000, 2000, each=5, known=False),
    *(Case(a_day, 2000, each=5, alike=2.5) for a_day in (100, 300, 1000)),
    Case(300, 2000, repeated=0.5),
)


def release(images: Images, case: Case) -> Checker:
    """Return the check of a release whose reference are the first of the images."""
    chosen = np.arange(case.reference)
    return Checker(Known(images.rows(chosen), images.people[chosen] if case.known else None))


def days_of(random: np.random.Generator, images: Images, a_day: int) -> list[Columns]:
    """Return seven days of the images, no image twice."""
    chosen = random.permutation(len(images))[: DAYS * a_day].reshape(DAYS, a_day)
    return [images.rows(day) for day in chosen]


def false_alarms(case: Case, references: int, weeks: int, seed: int = 1) -> tuple[int, int, int]:
    """Return the weeks with an alarm, those with one of the joint test, and those of the worst reference."""
    population, random = Population(0), np.random.default_rng(seed)
    count = min(round(case.a_day * (1 - case.repeated)), drift.AT_MOST)
    people = -(-case.reference // case.each)
    alarms = joint = worst = 0
    for _ in range(references):
        checker = release(population.images(random, people, case.each, alike=case.alike), case)
        own = 0
        for _ in range(weeks):
            # Where people appear again, a week shows as many of them as the reference, on images of its own
            there = DAYS * count if case.each == 1 else people
            pool = population.images(random, there, -(-DAYS * count // there), alike=case.alike)
            days = days_of(random, pool, count)
            joint += bool(checker.together(days))
            own += bool(checker.ours(days))
        alarms, worst = alarms + own, max(worst, own)
    return alarms, joint, worst


def power(share: float, a_day: int, references: int, weeks: int, seed: int = 1) -> tuple[int, int]:
    """Return in how many weeks the columns, and the joint test, find ten points more of an attribute."""
    population, random = Population(0), np.random.default_rng(seed)
    attribute = population.attribute(share)
    columns = joint = 0
    for _ in range(references):
        checker = release(population.images(random, 2000), Case(a_day, 2000))
        for _ in range(weeks):
            pool = population.images(random, 3 * DAYS * a_day)
            more = population.shares[attribute] + _POINTS
            days = [pool.rows(tilted(random, pool, a_day, attribute, more)) for _ in range(DAYS)]
            columns += bool(checker.alone(days))
            joint += bool(checker.together(days))
    return columns, joint


def tables(references: int, weeks: int) -> dict[str, str]:
    """Return both tables as Markdown, by the names of their places."""
    total = references * weeks
    lines = [
        "| images a day | reference | people | weeks | with a false alarm | at most, with 95 % confidence "
        "| of the joint test | worst reference |",
        "|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for case in CASES:
        alarms, joint, worst = false_alarms(case, references, weeks)
        people = "all different" if case.each == 1 else f"{case.each} images each"
        people += "" if case.known else ", unknown"
        people += ", alike" if case.alike > 1 else ""
        people += f", {case.repeated:.0%} repeated" if case.repeated else ""
        lines.append(
            f"| {case.a_day:,} | {case.reference:,} | {people} | {total} | **{alarms / total:.1%}** "
            f"| {at_most(alarms, total):.1%} | {joint / total:.1%} | {worst} of {weeks} |"
        )
    found = ["| ten points more | images a day | columns alone | joint test |", "|---|---:|---:|---:|"]
    for share in _SHARES:
        columns, joint = power(share, 100, references, weeks)
        found.append(
            f"| {share:.0%} to {share + _POINTS:.0%} | 100 | {columns / total:.0%} | {joint / total:.0%} |"
        )
    return {"simulated": "\n".join(lines), "joint": "\n".join(found)}


def main() -> None:
    """Print the tables, or write them into a document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", type=Path, metavar="DOCUMENT", help="write the tables into this file")
    parser.add_argument("--references", type=int, default=40, help="to draw (default: 40)")
    parser.add_argument("--weeks", type=int, default=5, help="of each reference (default: 5)")
    options = parser.parse_args()
    found = tables(options.references, options.weeks)
    if options.update:
        text = options.update.read_text(encoding="utf-8")
        options.update.write_text(updated(text, found), encoding="utf-8")
        return
    print("\n\n".join(found.values()))


if __name__ == "__main__":
    main()
