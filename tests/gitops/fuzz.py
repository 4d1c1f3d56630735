"""Every reader of text that somebody else may write: an answer or the reader's own error, and nothing else.

`make test` tries them with Hypothesis, `make test-all` with Atheris too, which looks for new paths of code.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from dashboard import checks
from gitops.diff import files, outline
from gitops.dvc import lockfile, parameters
from gitops.dvc.parameters import FaultError
from gitops.errors import GitopsError
from gitops.forge import dependencies
from gitops.gates import comparison
from gitops.gates.shadows import Shadowed
from gitops.git.objects import Object, Tag, read_commit, read_tag
from gitops.history import audit
from gitops.model.evaluation import Evaluation
from gitops.release import contract, environments, settings
from gitops.release import file as release_file
from gitops.release.approvals import Approval
from gitops.release.calendar import Calendar
from gitops.release.forgotten import Forgotten
from gitops.release.keys import KeyList, signers_objection
from gitops.release.licences import Licences
from gitops.release.serving import Serving
from gitops.release.verdicts import Verdict
from gitops.report.data import appended
from gitops.statement.envelope import Envelope
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
    "commit": lambda content: read_commit("a" * 40, content),
    "verdict": lambda content: Verdict.read(_tag("verified/prod/aaaaaaaaaaaa", content)),
    "approval": lambda content: Approval.read(_tag("approved/prod/aaaaaaaaaaaa/ann", content)),
    "shadowed": lambda content: Shadowed.read(_tag("shadowed/prod/aaaaaaaaaaaa", content)),
    "keys": KeyList.read,
    "signature": lambda read: (KeyList().objection(b"", read), signers_objection(b"", read, read)),
    "envelope": Envelope.read,
    "audit": audit.read,
    "outline": outline.read,
    "batch": lambda content: appended("data/labelled/a.dvc", content),
    "licences": Licences.read,
    "forgotten": Forgotten.read,
    "contract": contract.needed,
    "packages": dependencies.check,
    "evaluation": lambda content: record.read(Evaluation, content),
    "comparison": lambda content: comparison.parse(content, "comparison.json"),
    "serving": lambda content: record.read(Serving, content),
    "decisions": lambda content: record.read(checks.Line, content),
    "evidence": lambda content: record.read(checks.Evidence, content),
    "date": lambda content: json_values.day(content.decode("utf-8", "replace")),
    "yaml": lambda content: parse.yaml_value(content, parse.LOCK),
    "json": lambda content: parse.json_value(content, parse.VERDICT),
}


def _tag(name: str, content: bytes) -> Tag:
    return read_tag(name, "b" * 40, Object("b" * 40, "tag", len(content)), content)


def one(read: Callable[[bytes], object], content: bytes) -> None:
    """Read one text. Whatever it is, nothing else than the errors for a person may come of it."""
    with suppress(GitopsError, FaultError):
        read(content)
