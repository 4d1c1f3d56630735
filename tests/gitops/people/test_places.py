"""The inventory has every output and every folder with data about people, and so has the page."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gitops.people import places

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "people.md"
# How the code names a folder in the data folder of an environment
_FOLDER = re.compile(r"""\b(?:self\._)?(?:home|data)(?:\(\))? / (?:f?"([\w.-]+)"|([A-Z_]+)\b)""")
# Folders of DVC and of stages that the same words name
_ELSEWHERE = {"cache", "tmp", "postmaster.pid", ".sweep"}


def outputs(pipeline: dict) -> set[str]:
    """Return the outputs and metrics of the stages of a `dvc.yaml`."""
    listed = [
        out
        for stage in pipeline["stages"].values()
        for key in ("outs", "metrics", "plots")
        for out in stage.get(key, ())
    ]
    return {next(iter(out)) if isinstance(out, dict) else out for out in listed}


def folders_of(root: Path) -> set[str]:
    """Return the folders that the code makes in the data folder of an environment."""
    found = set()
    for top in ("src/gitops", "src/dashboard", "src/serving", "dags"):
        for path in (root / top).rglob("*.py"):
            text = path.read_text("utf-8")
            for name, constant in _FOLDER.findall(text):
                if constant:
                    value = re.search(rf'^{constant} = "([\w.-]+)"', text, re.MULTILINE)
                    name = value[1] if value else ""
                if name:
                    found.add(name)
    return found - _ELSEWHERE


def test_every_output_of_the_pipeline_is_in_the_inventory_or_known_to_be_free_of_people() -> None:
    pipeline = YAML(typ="safe").load(ROOT / "dvc.yaml")
    known = places.outputs() | places.WITHOUT_PEOPLE
    assert outputs(pipeline) - known == set()
    pipeline["stages"]["collect"]["outs"].append("data/thumbnails")
    assert outputs(pipeline) - known == {"data/thumbnails"}


def test_an_output_of_the_inventory_exists() -> None:
    pipeline = YAML(typ="safe").load(ROOT / "dvc.yaml")
    assert (places.outputs() | places.WITHOUT_PEOPLE) - outputs(pipeline) == {"data/labelled"}


def test_every_folder_of_an_environment_is_in_the_inventory() -> None:
    found = folders_of(ROOT)
    assert {"incoming", "scored", "quarantine", "scores", "labels", "labelled", "runs"} <= found
    assert found - set(places.folders()) - places.HOME_WITHOUT_PEOPLE == set()
    assert set(places.folders()) - found == set()


def test_a_new_folder_is_found(tmp_path: Path) -> None:
    file = tmp_path / "dags" / "new.py"
    file.parent.mkdir()
    file.write_text('FOLDER = "faces"\npath = home / FOLDER\nother = tasks.home() / "thumbs"\n')
    assert folders_of(tmp_path) == {"faces", "thumbs"}


def test_the_page_has_the_table(tmp_path: Path) -> None:
    """If this fails, run `update` of `gitops.people.places` on the page."""
    copy = tmp_path / "people.md"
    copy.write_bytes(PAGE.read_bytes())
    places.update(copy)
    assert copy.read_text("utf-8") == PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    "law",
    [
        ("## EU AI Act", ("5", "9", "10", "11", "12", "13", "14", "15", "26", "49", "50", "Annex III, 1")),
        ("## GDPR", ("5", "6", "9", "17", "22", "28", "30", "32", "35")),
    ],
    ids=lambda law: law[0][3:],
)
def test_the_page_has_a_row_for_each_article(law: tuple[str, tuple[str, ...]]) -> None:
    text = PAGE.with_name("law.md").read_text("utf-8")
    assert "It is no legal advice" in " ".join(text.split())
    _, _, section = text.partition(law[0])
    rows = re.findall(r"^\| ([^|]+) \|", section.partition("\n## ")[0], re.MULTILINE)
    assert [row for row in rows if row not in ("article", "---")] == list(law[1])
