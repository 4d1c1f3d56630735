"""Every reader of text that somebody else may write: an answer or the reader's own error, and nothing else.

`make test` tries them with Hypothesis, `make test-all` with Atheris too, which looks for new paths of code.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from dashboard import checks
from gitops.diff import files
from gitops.dvc import lockfile, parameters
from gitops.dvc.parameters import FaultError
from gitops.errors import GitopsError
from gitops.gates import comparison
from gitops.git.objects import Tag
from gitops.model.evaluation import Evaluation
from gitops.release import environments, settings
from gitops.release import file as release_file
from gitops.release.calendar import Calendar
from gitops.release.serving import Serving
from gitops.release.verdicts import Verdict
from gitops.text import json_values, parse, record

_LOCK = b"schema: '2.0'\nstages:\n  a:\n    cmd: x\n    outs: [{path: b, md5: c}]\n"
READERS: dict[str, Callable[[bytes], object]] = {
    "release": lambda content: release_file.parse(content, "prod", follows=False),
    "environment": lambda content: environments.read(content, "prod"),
    "calendar": lambda content: Calendar.read(content).closed("prod", datetime(2026, 1, 1, tzinfo=UTC)),
    "settings": lambda content: settings.Settings.from_file(content, "prod"),
    "lock": lambda content: list(lockfile.outs(content, b"")),
    "pipeline": lambda content: list(lockfile.outs(_LOCK, content)),
    "parameters": parameters.read,
    "parameters_schema": parameters.load_schema,
    "parameters_shown": files.flat,
    "pointer": files.tracked,
    "pins": files.pins,
    "verdict": lambda content: Verdict.read(
        Tag("verified/prod/aaaaaaaaaaaa", "b" * 40, "a" * 40, content.decode("utf-8", "replace"))
    ),
    "evaluation": lambda content: record.read(Evaluation, content),
    "comparison": lambda content: comparison.parse(content, "comparison.json"),
    "serving": lambda content: record.read(Serving, content),
    "decisions": lambda content: record.read(checks.Line, content),
    "evidence": lambda content: record.read(checks.Evidence, content),
    "date": lambda content: json_values.day(content.decode("utf-8", "replace")),
    "yaml": lambda content: parse.yaml_value(content, parse.LOCK),
    "json": lambda content: parse.json_value(content, parse.VERDICT),
}


def one(read: Callable[[bytes], object], content: bytes) -> None:
    """Read one text. Whatever it is, nothing else than the errors for a person may come of it."""
    with suppress(GitopsError, FaultError):
        read(content)
