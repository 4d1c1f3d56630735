import json
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException

from visage_dags import checks
from visage_dags.records import Drift


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"{", "content: Invalid JSON"),
        (json.dumps({"format": 2}).encode(), "format: Input should be 1"),
    ],
)
def test_a_result_that_cannot_be_read_fails_in_one_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "drift.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AirflowFailException) as caught:
        checks.read(str(path), Drift)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert str(caught.value).endswith("; clear the task that wrote it")
    assert "\n" not in str(caught.value)
