"""Every failure says what was wanted, why it cannot be done, and which command comes next."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from gitops import errors
from gitops.cli import app
from gitops.cli.completion import read_rules
from gitops.cli.explain import GLOSSARY, PAGES
from gitops.cli.failure import ACTIONS
from gitops.forge.github import GitHub
from tests.support.lab import ROOT, Lab

CODE = sorted(
    path for folder in ("src", "infra", "dags", "scripts") for path in (ROOT / folder).rglob("*.py")
)
RULES = read_rules(ROOT)
_COMMANDS = "|".join(
    [
        "status",
        "diff",
        "explain",
        "train",
        "promote",
        "rollback",
        "hold",
        "unhold",
        "merge",
        "adopt",
        "check",
        "scope",
        "trial",
        "report",
        "log",
        "approve",
    ]
)
BARE = re.compile(rf"(?<![\w/`.-])gitops (?:{_COMMANDS}|(?:keys|storage|forge|github) [a-z]+)\b(?!,)")


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            called = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            if called == name:
                yield node


def _named(call: ast.Call, keyword: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == keyword), None)


def _rules_in_use() -> set[str]:
    found = {getattr(error, "rule", "") for error in vars(errors).values() if isinstance(error, type)}
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                value = _named(node, "rule")
                if isinstance(value, ast.Constant):
                    found.add(str(value.value))
    return found - {""}


def test_every_finding_names_its_rule() -> None:
    without = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in CODE
        for call in _calls(ast.parse(path.read_text()), "Finding")
        if _named(call, "rule") is None
    ]
    assert without == []


def test_every_rule_has_its_section_and_every_section_its_rule() -> None:
    assert {*RULES} == _rules_in_use()


@pytest.mark.parametrize("rule", RULES)
def test_a_section_says_why_and_what_to_do(rule: str) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule)
    text = RULES[rule]
    assert "\nWhy: " in text
    assert "\nTo do: " in text
    assert len(text.split()) < 120


def _messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module that people read: no docstrings, and no help of options."""
    tree = ast.parse(path.read_text())
    left_out = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            left_out.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg in ("help", "description"):
            left_out.update(map(id, ast.walk(node.value)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


def test_no_message_has_a_command_that_a_plain_shell_does_not_find() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in CODE
        for line, text in _messages(path)
        if BARE.search(text)
    ]
    assert bare == []


def _commands(group: TyperGroup, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        below = getattr(command, "commands", None)
        yield from _commands(command, (*names, name)) if below else [(*names, name)]  # pyright: ignore[reportArgumentType]


def test_every_command_has_an_action() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for names in _commands(group):
        known = [" ".join(names[:length]) for length in range(len(names), 0, -1)]
        assert any(name in ACTIONS for name in known), names


def _run(*args: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(app, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr.splitlines()


def test_a_refusal_begins_with_the_wish_and_ends_with_a_command(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab.clone.path)
    code, lines = _run("promote", "staging")
    commit = lab.origin.resolve("main")[:12]
    assert code == 1
    assert lines == [
        f"Cannot promote to staging: {commit} has no trained model yet (environments/staging/release.yaml)",
        "  Train one and merge its candidate, or run make up. Rule: .venv/bin/gitops explain no-model",
        "Next: .venv/bin/gitops train main --wait",
    ]


def test_a_command_in_a_remedy_can_be_pasted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody ran `git pull` before `git push`: main's own commits became a side branch."""
    before = lab.train("a")
    monkeypatch.chdir(lab.clone.path)
    lab.state()
    mine = lab.commit({"README.md": b"mine"}, on=f"{before}^")
    pulled = lab.origin.commit_tree(f"{mine}^{{tree}}", [mine, before], "Merge branch 'main'")
    lab.origin.git("update-ref", "refs/heads/main", pulled)
    _, lines = _run("promote", "staging")
    command = lines[-1].removeprefix("Next: ")
    assert lines[-2].startswith(f"  {command}; if it was meant: git ")
    for part in command.split(" && "):
        lab.clone.git(*shlex.split(part)[1:], env=lab.clone.identity())
    assert lab.state().main_fault is None


@pytest.mark.parametrize(
    ("args", "first", "following", "code"),
    [
        (("promote", "qa"), "Cannot promote to qa: no such environment", "explain environment", 1),
        (("promote", "dev"), "Cannot promote to dev: dev always runs main", "git log --first-parent", 1),
        (("rollback", "prod"), "Cannot roll back prod: prod has no release yet", "promote prod --push", 1),
        (
            ("merge", "nope"),
            "Cannot merge nope into main: no such branch on origin",
            "git push origin nope",
            1,
        ),
        (("status", "--x"), "Cannot show the status: No such option: --x", "status --help", 2),
        (
            ("doctor", "--read", "x"),
            "Cannot find every object on the DVC remote: Invalid value for '--read': this is no number",
            "doctor --help",
            2,
        ),
        (("promte",), "Cannot run gitops: No such command 'promte'", "--help", 2),
        (
            ("explain", "nope"),
            "Cannot explain nope: no rule and no word of the glossary",
            "gitops explain",
            1,
        ),
        (("explain", "errord"), "Cannot explain errord: no rule and no word", "explain errored", 1),
        (
            ("promote", "production"),
            "Cannot promote to production: no such environment; did you mean prod?",
            "gitops promote prod",
            1,
        ),
        (("log", "zzz"), "Cannot list the releases of zzz: no such environment", "explain environment", 1),
        (("trace", "zzz"), "Cannot trace zzz: zzz: no file of scores", "trace main", 1),
        (
            ("check", "--head", "x"),
            "Cannot merge x into main: x: no branch of origin, and no commit",
            "git ls-remote --heads origin",
            1,
        ),
        (
            ("train", "x"),
            "Cannot train x: x: no such branch on origin; push it first",
            "git push origin x",
            1,
        ),
        (
            ("audit", "--since", "today"),
            "Cannot list the changes of releases: Invalid value for '--since': 'today' is no date",
            "audit --help",
            2,
        ),
        (
            ("promote", "staging", "--override"),
            "Cannot promote to staging: Option '--override' requires an argument.",
            "promote --help",
            2,
        ),
        (("log", "staging", "-n", "0"), "Cannot list the releases of staging: Inv", "log --help", 2),
        (("--bogus",), "Cannot run gitops: No such option: --bogus", "--help", 2),
        (("merge", "main"), "Cannot merge main into main: main is the branch", "ls-remote", 1),
        (("runs", "--compare", "a"), "Cannot list the trainings: --compare a: name two", "gitops runs", 1),
        (("forget", "--ids", "none"), "Cannot forget photographs: none: cannot be read", ">> none", 1),
        (("forge", "candidate", "x"), "Cannot propose x: x: no such branch on origin", "ls-remote", 1),
        (("github", "doctor", "a/b"), "Cannot compare the settings on GitHub: /", "explain forge", 1),
        (("train", "main", "--access", "/none"), "Cannot train main: /none: names no Airflow", "make up", 1),
        (
            ("merge", "--remote", "x y", "b"),
            "Cannot merge b into main: x y: no such git remote",
            "merge --help",
            1,
        ),
    ],
)
def test_each_failure_has_its_next_command(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    first: str,
    following: str,
    code: int,
) -> None:
    monkeypatch.chdir(lab.clone.path)
    (lab.clone.path / "docs").mkdir(exist_ok=True)
    for page in (*PAGES, GLOSSARY):
        (lab.clone.path / page).write_text((ROOT / page).read_text())
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    exit_code, lines = _run(*args)
    assert exit_code == code
    assert lines[0].startswith(first)
    assert lines[-1].startswith("Next: ")
    assert following in lines[-1]
    assert shlex.split(lines[-1].removeprefix("Next: "))[0] in (
        ".venv/bin/gitops",
        "git",
        "make",
        "echo",
        "export",
    )


def test_a_missing_token_ends_with_the_way_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    with pytest.raises(errors.ForgeError, match="GITHUB_TOKEN: not set") as refused:
        GitHub.token()
    assert refused.value.next_command == "export GITHUB_TOKEN=$(gh auth token)"


def test_explain_prints_a_section_and_lists_all(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.clone.path)
    missing = CliRunner().invoke(app, ["explain"])
    assert missing.exit_code == 1
    assert missing.stderr.endswith(f"Next: git checkout main -- {' '.join(PAGES)}\n")
    (lab.clone.path / "docs").mkdir()
    for page in PAGES:
        (lab.clone.path / page).write_text((ROOT / page).read_text())
    assert "To do: read the reason." in CliRunner().invoke(app, ["explain", "HELD"]).stdout
    assert (
        "runbook is\ndocs/runbooks/verify_release.md."
        in CliRunner().invoke(app, ["explain", "rejected"]).stdout
    )
    missing = CliRunner().invoke(app, ["explain", "drift"])
    assert missing.stderr.endswith(f"Next: git checkout main -- {GLOSSARY}\n")
    (lab.clone.path / GLOSSARY).write_text((ROOT / GLOSSARY).read_text())
    drift = CliRunner().invoke(app, ["explain", "Drift"]).stdout
    assert drift.startswith("drift\n\nThe scored images differ")
    assert drift.endswith("More: docs/monitoring.md\n")
    listed = CliRunner().invoke(app, ["explain"]).stdout.splitlines()
    assert [line.split()[0] for line in listed] == [*RULES]
    [runtime] = [line for line in listed if line.startswith("other-runtime ")]
    assert not runtime.endswith("such")


def test_gitops_alone_shows_where_you_stand(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.clone.path)
    first = CliRunner().invoke(app, [])
    assert first.exit_code == 0
    assert first.stdout.splitlines()[-3] == "    make up"
    commit = lab.train("a")
    (lab.clone.path / ".visage").mkdir()
    (lab.clone.path / ".visage/access.json").write_text("{}")
    CliRunner().invoke(app, ["promote", "staging"])  # fetches
    waits = CliRunner().invoke(app, []).stdout
    assert f"Release {commit[:12]} can go to staging" in waits
    assert "    .venv/bin/gitops promote staging --push --wait" in waits.splitlines()
    assert f"  dev        {commit[:12]} verified" in waits.splitlines()
    lab.verify("dev", commit, "rejected")
    CliRunner().invoke(app, ["log", "dev"])  # fetches
    rejected = CliRunner().invoke(app, []).stdout
    assert f"  dev        {commit[:12]} rejected" in rejected.splitlines()
    assert f"Dev rejected {commit[:12]}. Next:" in rejected
    assert "git switch --create revert-" in rejected


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("promote s", ["staging"]), ("explain not-v", ["not-verified-yet"]), ("merge al", ["alone"])],
)
def test_a_shell_completes_names(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, typed: str, completed: list[str]
) -> None:
    monkeypatch.chdir(lab.clone.path)
    (lab.clone.path / "docs").mkdir()
    for page in PAGES:
        (lab.clone.path / page).write_text((ROOT / page).read_text())
    lab.branch("alone", {"x": b"x"})
    lab.clone.git("fetch", "--quiet", "origin")
    words = {"COMP_WORDS": f"gitops {typed}", "COMP_CWORD": "2", "_GITOPS_COMPLETE": "complete_bash"}
    assert CliRunner().invoke(app, prog_name="gitops", env=words).stdout.split() == completed
