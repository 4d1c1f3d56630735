"""The search whose trials run as tasks: the rounds of its trials, and their records.

A round has `tune.parallel` trials, which run at the same time. A trial needs the trials of earlier rounds.
Each task hands its record on in Airflow's database, so workers need no common disk. The stage `tune` gets all
records, runs the trials that they lack, and chooses. So it has the same result as without these tasks.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gitops import tasks

log = logging.getLogger(__name__)

MOST_ROUNDS = 50
"""Rounds that get tasks. The stage runs the trials after them."""
_MOST_TRIALS = 1000  # as in params.py
_CODE = "src/face_attributes/training/trial_run.py"
_GIVEN, _RESULT = "models/checkpoints/trials.json", "models/checkpoints/trial.json"

Record = Mapping[str, Any]


def rounds(release_root: Path) -> list[list[int]]:
    """Return the numbers of the trials of each round by params.yaml; none if one runs at a time.

    None also where the parameters are missing, as beside DAG files alone, or wrong: the DAG loads all the
    same, and `gitops check` and the stage name the fault.
    """
    try:
        params = tasks.parse_yaml(text=(release_root / "params.yaml").read_text("utf-8"))
        source, values = params["data"]["source"], params["tune"]
        trials, parallel = _number(values["trials"], source), _number(values.get("parallel", "1"), source)
    except (AttributeError, KeyError, OSError, TypeError, ValueError, tasks.ParseError):
        return []
    if not (1 < trials <= _MOST_TRIALS and 1 < parallel <= _MOST_TRIALS):
        return []
    firsts = range(0, trials, parallel)[:MOST_ROUNDS]
    return [list(range(first, min(first + parallel, trials))) for first in firsts]


def run(commit: str, number: int, earlier: Iterable[Iterable[Record]]) -> Record:
    """Run a trial on a commit, and return its record; an empty one if the trial is left to the stage.

    Args:
        commit: The commit, which has the prepared data.
        number: The number of the trial, from 0.
        earlier: The records of each earlier round.

    """
    # A branch may be older than the command
    if tasks.inspect(commit=commit, files=[_CODE])["files"][_CODE] is None:
        log.info("%s has no command for a trial: the stage tune runs it.", commit[:12])
        return {}
    command = ["python", "-m", "face_attributes", "trial", str(number), "--earlier", _GIVEN, "--out", _RESULT]
    record: Record = tasks.run_for_result(
        commit=commit,
        command=command,
        result=_RESULT,
        given=given(earlier),
        needs=["data/prepared"],
        minutes=5 * 60,
    )
    return record


def given(earlier: Iterable[Iterable[Record]]) -> dict[str, str]:
    """Return the text of the file with the records of rounds, by its path."""
    return {_GIVEN: json.dumps([record for records in earlier for record in records if record])}


def _number(value: Any, source: str) -> int:
    """Return a number of params.yaml, which may differ between sources."""
    return int(value[source] if isinstance(value, dict) else value)
