"""How near the drawn faces come to CelebA, and how fast they are drawn.

    python -m benchmarks.population
    python -m benchmarks.population --update benchmarks/results/faces.md

Prints, as Markdown, how often each attribute occurs, and the correlations of the strongest pairs, in CelebA
and among the first 20,000 faces of seed 1; then draws some of them and prints the images per second. With
--update it writes the two tables into the document instead, between their markers.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from drawn_faces import DRAWN_ATTRIBUTES, SyntheticParams, population
from drawn_faces.celeba import CELEBA_MARGINALS
from drawn_faces.correlations import CELEBA_CORRELATIONS, phi
from face_attributes.data.drawn_folder import draw_folder

SEED = 1
FACES = 20_000


def main() -> None:
    """Print the tables and the speed, or write the tables into a document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", type=Path, metavar="DOCUMENT", help="write the tables into this file")
    parser.add_argument("--draw", type=int, default=2000, help="images to draw (default: 2000)")
    options = parser.parse_args()
    drawn = tables(population.sample(SEED, range(FACES)))
    if options.update:
        text = options.update.read_text(encoding="utf-8")
        options.update.write_text(updated(text, drawn), encoding="utf-8")
        return
    print("\n\n".join(drawn.values()))
    print(f"\n{_speed(options.draw)}")


def tables(people: population.Columns) -> dict[str, str]:
    """Return two Markdown tables of these faces beside CelebA: `marginals` and `correlations`."""
    shares = {f"`{name}`": (CELEBA_MARGINALS[name], float(people[name].mean())) for name in DRAWN_ATTRIBUTES}
    pairs = {
        f"`{one}`, `{other}`": (published, phi(people[one], people[other]))
        for (one, other), published in CELEBA_CORRELATIONS.items()
    }
    return {
        "marginals": _table("attribute", shares, "{:.1%}"),
        "correlations": _table("pair", pairs, "{:+.2f}"),
    }


def updated(text: str, drawn: dict[str, str]) -> str:
    """Return a document with each table between its markers, `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises:
        ValueError: the document lacks a marker.

    """
    for name, table in drawn.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->\n")
        if not start or not end:
            raise ValueError(f"the document has no lines <!-- {name} --> and <!-- /{name} -->")
        text = f"{before}{start}\n{table}\n\n{end}{after}"
    return text


def _table(what: str, rows: dict[str, tuple[float, float]], form: str) -> str:
    differences = {name: abs(drawn - published) for name, (published, drawn) in rows.items()}
    mean, most = np.mean(list(differences.values())), max(differences, key=differences.__getitem__)
    return "\n".join(
        [
            f"| {what} | CelebA | drawn |",
            "|---|---:|---:|",
            *(f"| {name} | {form.format(a)} | {form.format(b)} |" for name, (a, b) in rows.items()),
            "",
            f"The mean difference is {mean:.3f}, the largest {differences[most]:.3f} ({most}).",
        ]
    )


def _speed(count: int) -> str:
    """Draw `count` images as `draw` does, the start of its processes included."""
    with tempfile.TemporaryDirectory(prefix="population-") as folder:
        start = time.perf_counter()
        draw_folder(SyntheticParams(count=count, seed=SEED), Path(folder), progress=False)
        seconds = time.perf_counter() - start
    load = os.getloadavg()[0]
    return (
        f"{count / seconds:.0f} images/s on all {os.cpu_count()} cores; load average afterwards {load:.1f}."
    )


if __name__ == "__main__":
    main()
