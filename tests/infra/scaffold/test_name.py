"""What a DAG may be called."""

from pathlib import Path

import pytest

from infra.scaffold import files, name
from infra.scaffold.errors import ScaffoldError

ROOT = Path(__file__).resolve().parents[3]


def said(text: str, dags: Path = ROOT / "dags") -> str:
    with pytest.raises(ScaffoldError) as caught:
        name.check(text, dags, files.used_names())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("text", ["dag_of_a_test", "a", "a" * 60, "faces2", "weekly_report"])
def test_a_name_is_taken_as_it_is(text: str) -> None:
    assert name.check(text, ROOT / "dags", files.used_names()) == text


@pytest.mark.parametrize(
    "text", ["Count", "2faces", "_faces", "count-faces", "count faces", "../evil", "é", "x'y", "a\nb", "a;b"]
)
def test_a_name_of_another_form_is_refused(text: str) -> None:
    assert "small letters, digits and _" in said(text)


@pytest.mark.parametrize("text", ["class", "sum", "dag", "task", "default_dag_args", "read_release", "json"])
def test_a_name_that_the_file_would_fall_over_is_refused(text: str) -> None:
    assert said(text) == f"{text}: Python or the file of the DAG uses that name; choose another"


def test_the_others_say_what_is_wrong() -> None:
    assert said("") == "say which: make new-dag NAME=count_faces"
    assert said("a" * 61).endswith("61 letters, 60 are allowed")
    assert "leave out _dag" in said("faces_dag")


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("model_monitoring_and_retraining", "monitoring_dag.py"),
        ("ml_pipeline_face_attributes", "ml_pipeline_dag.py"),
    ],
)
def test_an_id_that_there_is_is_refused_whatever_its_file_is_called(text: str, file: str) -> None:
    assert said(text) == f"{text}: {file} has a DAG of that name already"


def test_a_dag_file_that_is_no_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken_dag.py").write_text("x = 1\ndef (\n")
    assert said("faces", tmp_path) == f"{tmp_path / 'broken_dag.py'}: line 2: not Python; mend it first"
