from pathlib import Path

import numpy as np
import pytest

from benchmarks import population as benchmark
from drawn_faces import DRAWN_ATTRIBUTES, population
from drawn_faces.correlations import CELEBA_CORRELATIONS

DOCUMENT = Path(__file__).parents[2] / "benchmarks/results/faces.md"


def test_tables_in_the_docs_are_what_is_drawn() -> None:
    drawn = benchmark.tables(population.sample(benchmark.SEED, range(benchmark.FACES)))
    text = DOCUMENT.read_text(encoding="utf-8")
    assert benchmark.updated(text, drawn) == text, (
        "run python -m benchmarks.population --update benchmarks/results/faces.md"
    )


def test_tables_say_what_the_faces_have() -> None:
    people = population.sample(3, range(400))
    people["Smiling"] = np.arange(400) < 30
    people["High_Cheekbones"] = ~people["Smiling"]
    drawn = benchmark.tables(people)
    assert "| `Smiling` | 48.2% | 7.5% |" in drawn["marginals"].splitlines()
    assert "the largest 0.470 (`High_Cheekbones`)." in drawn["marginals"]
    assert "| `High_Cheekbones`, `Smiling` | +0.67 | -1.00 |" in drawn["correlations"].splitlines()
    assert drawn["marginals"].count("\n| `") == len(DRAWN_ATTRIBUTES)
    assert drawn["correlations"].count("\n| `") == len(CELEBA_CORRELATIONS)


def test_table_replaces_what_is_between_its_markers_alone() -> None:
    text = "before\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\n<!-- /b -->\nafter\n"
    once = benchmark.updated(text, {"a": "new"})
    assert once == text.replace("\nold\n", "\n\nnew\n\n")
    assert benchmark.updated(once, {"a": "new"}) == once


@pytest.mark.parametrize("text", ["nothing", "<!-- a -->\nno end\n", "<!-- /a -->\n<!-- a -->\n"])
def test_document_without_the_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has no lines <!-- a --> and <!-- /a -->"):
        benchmark.updated(text, {"a": "new"})
