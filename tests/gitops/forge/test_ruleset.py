import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from gitops.cli import app
from gitops.errors import ForgeError
from gitops.forge.ruleset import apply, load, unknown_owners
from gitops.release.verdicts import REJECTED, VERIFIED
from tests.support.forge import NAME, Forge
from tests.support.forge_server import client

ROOT = Path(__file__).resolve().parents[3]
RULESETS = ROOT / ".github/rulesets"


def test_they_are_made_then_left_and_put_right_again(forge: Forge) -> None:
    wanted = load(RULESETS)
    github = client(forge, administration="write", contents="read")
    assert dict(apply(github, wanted, dry=True)) == {"main": "missing", "verdicts": "missing"}
    assert forge.rulesets == {}
    assert dict(apply(github, wanted)) == {"main": "made", "verdicts": "made"}
    assert dict(apply(github, wanted)) == {"main": "up to date", "verdicts": "up to date"}
    # GitHub answers in an order of its own, with what it adds; a person turns one rule off.
    main = next(one for one in forge.rulesets.values() if one["name"] == "main")
    main["rules"].reverse()
    main["rules"][0]["parameters"]["added_by_github"] = True
    assert dict(apply(github, wanted))["main"] == "up to date"
    main["rules"] = main["rules"][1:]
    assert dict(apply(github, wanted, dry=True))["main"] == "different"
    assert dict(apply(github, wanted))["main"] == "changed"
    assert [(one.method, one.path.rpartition("/")[0]) for one in forge.requests if one.body] == [
        ("POST", f"/repos/{NAME}"),
        ("POST", f"/repos/{NAME}"),
        ("PUT", f"/repos/{NAME}/rulesets"),
    ]
    posted = next(one.body for one in forge.requests if one.body)
    assert posted == json.loads((RULESETS / "main.json").read_text())


def test_main_waits_for_the_verdict_which_always_reports() -> None:
    (rule,) = [one for one in load(RULESETS)[0].rules if one.type == "required_status_checks"]
    (check,) = rule.parameters["required_status_checks"]
    workflow = YAML(typ="safe").load((ROOT / ".github/workflows/pull-request.yml").read_text())
    job = next(one for one in workflow["jobs"].values() if one["name"] == check["context"])
    assert job["if"] == "always()"
    assert set(job["needs"]) == set(workflow["jobs"]) - {"verdict"}
    (asked,) = [step["run"] for step in job["steps"] if "gitops check" in step.get("run", "")]
    assert all(f'--job {name}="${name.upper()}"' in asked for name in job["needs"])
    # Nothing else decides whether the workflow runs.
    assert workflow["on"] == {"pull_request": {"branches": ["main"]}}


def test_main_takes_merges_alone_and_asks_owners() -> None:
    (rule,) = [one for one in load(RULESETS)[0].rules if one.type == "pull_request"]
    assert rule.parameters["require_code_owner_review"] is True
    # What a promotion names is found in the history of main alone.
    assert rule.parameters["allowed_merge_methods"] == ["merge"]


def test_only_environments_make_verdicts() -> None:
    (verdicts,) = [one for one in load(RULESETS) if one.target == "tag"]
    # A star, be it one or two, stands for no slash there, unless it is these four signs.
    assert verdicts.conditions.ref_name.include == [f"refs/tags/{kind}/**/*" for kind in (VERIFIED, REJECTED)]
    assert {rule.type for rule in verdicts.rules} >= {"creation", "update", "deletion"}
    assert [actor.actor_type for actor in verdicts.bypass_actors] == ["DeployKey"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no rulesets there"),
        ({"a.json": "{"}, r"a\.json: content: Invalid JSON"),
        ({"a.json": '{"name": "x", "nme": 1}'}, r"a\.json: "),
        ({"a.json": "SAME", "b.json": "SAME"}, "two rulesets are called main"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content.replace("SAME", (RULESETS / "main.json").read_text()))
    with pytest.raises(ForgeError, match=message):
        load(tmp_path)


def test_owners_whom_github_does_not_know(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    forge.owner_errors = [
        {
            "line": 5,
            "column": 20,
            "kind": "Unknown owner",
            "source": "*   owners@visage.invalid",
            "suggestion": "make sure owners@visage.invalid exists",
            "message": "Unknown owner on line 5",
            "path": ".github/CODEOWNERS",
        }
    ]
    github = client(forge, contents="read")
    line = ".github/CODEOWNERS:5: Unknown owner: * owners@visage.invalid"
    assert unknown_owners(github) == [line]
    monkeypatch.setenv("GITHUB_API_URL", f"{forge.url}/api")
    monkeypatch.setenv("GITHUB_REPOSITORY", NAME)
    monkeypatch.setenv("GITHUB_TOKEN", forge.token("admin", {"administration": "write", "contents": "read"}))
    done = CliRunner().invoke(app, ["github", "rulesets"])
    assert (done.exit_code, f"refused: {line}" in done.stderr) == (1, True)
    forge.owner_errors = []
    assert CliRunner().invoke(app, ["github", "rulesets"]).exit_code == 0
    assert CliRunner().invoke(app, ["github", "rulesets", "--dry-run"]).exit_code == 0
    forge.rulesets.clear()
    assert CliRunner().invoke(app, ["github", "rulesets", "--dry-run"]).exit_code == 1
