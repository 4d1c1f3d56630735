"""The data of a training, before and after a change, in the report on a pull request."""

import json

import pytest
from ruamel.yaml import YAML

from gitops.model.data import Data
from gitops.report import data
from gitops.report.collect import gather
from gitops.report.render import render
from tests.support.lab import Lab

POINTER = """outs:
- md5: d41d8cd98f00b204e9800998ecf8427e
  size: 1
  path: monday.parquet
meta:
  images: 200
  rows: {train: 160, validation: 20, test: 20}
  yes: {Smiling: 150, Male: 20}
  digest: 0
"""


def facts(smiling: int = 500, images: int = 1000, **changes: object) -> dict[str, object]:
    share = smiling / images
    row = {"share": share, "share_low": share - 0.03, "share_high": share + 0.03}
    return {
        "format": 1,
        "source": "synthetic",
        "profile": "full",
        "rows": {"train": images - 200, "validation": 100, "test": 100},
        "shares": {"Smiling": {"yes": {"train": smiling}, **row}},
        "contradictions": {"images": 3, **row},
        "repeated": {"images": 4, "of": images, "cuts": 1, "other_labels": 2, "parts": {"test": 4}},
        "people": {"images": images, "people": 40, "in_several_parts": 0},
        **changes,
    }


def test_rows_and_shares_are_beside_those_before() -> None:
    before, after = (
        Data.model_validate(facts(smiling, images, batches=batches))
        for smiling, images, batches in ((500, 1000, {}), (900, 1200, {"monday": 200}))
    )
    text = data.markdown(before, after)
    assert "| train images | 800 | 1,000 |" in text
    assert "| of batch `monday` |  | 200 |" in text
    assert (
        "| `Smiling` | 50.0% (47.0% to 53.0%) | 75.0% (72.0% to 78.0%) | +25.0 points, significant (95 %) |"
        in text
    )
    assert "| of them another cut of a photograph | 1 | 1 |" in text
    assert not data.markdown(before, before)
    assert not data.markdown(before, None)
    assert "| train images |  | 1,000 |" in data.markdown(None, after)


def test_a_report_on_an_appended_batch_shows_its_shares(lab: Lab) -> None:
    lab.land({"metrics/data.json": json.dumps(facts()).encode()})
    head = lab.branch("batch", {"data/labelled/monday.parquet.dvc": POINTER.encode()})
    state = lab.state()
    text = render(gather(lab.clone, state, head))
    assert "Appended labelled batches" in text
    assert "| images | 1,000 | 200 (160 train, 20 validation, 20 test) |" in text
    assert "| `Smiling` | 50.0% (47.0% to 53.0%) | 75.0% (68.6% to 80.5%) |" in text


@pytest.mark.parametrize(
    "meta",
    [
        {"rows": {"train": "many"}},
        {"rows": {"train": 3}, "yes": {"Smiling": 4}},
        {"rows": [1]},
        {"images": 200},
        {"rows": {"train": -1}},
        {"rows": {"train": "9" * 40}},
    ],
    ids=lambda meta: str(meta)[:20],
)
def test_a_pointer_of_an_earlier_release_or_with_nonsense_has_no_table(meta: dict[str, object]) -> None:
    import io

    stream = io.BytesIO()
    YAML().dump({"meta": meta}, stream)
    assert data.appended("data/labelled/monday.parquet.dvc", stream.getvalue()) is None
    assert data.appended("data/labelled/monday.parquet.dvc", b"a: [") is None
    assert data.appended("data/raw.dvc", POINTER.encode()) is None
