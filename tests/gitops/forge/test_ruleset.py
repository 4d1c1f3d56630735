import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from gitops.cli import app
from gitops.errors import ForgeError
from gitops.forge.interface import JOBS
from gitops.forge.ruleset import Ruleset, apply, load, unknown_owners, with_app
from gitops.gates.shadows import SHADOWED
from gitops.release.approvals import APPROVED
from gitops.release.verdicts import REJECTED, VERIFIED
from tests.support.forge import NAME, Forge
from tests.support.forge_server import client

ROOT = Path(__file__).resolve().parents[3]
RULESETS = ROOT / ".github/rulesets"


def named(name: str) -> Ruleset:
    return next(one for one in load(RULESETS) if one.name == name)


def test_what_an_image_a_training_and_a_promotion_leave_is_not_anybodys_to_write() -> None:
    def bound(name: str) -> tuple[list[str], set[str], list[str]]:
        found = named(name)
        actors = [f"{actor.actor_type} {actor.actor_id}" for actor in found.bypass_actors]
        return found.conditions.ref_name.include, {rule.type for rule in found.rules}, actors

    administrators, maintainers, environments = "RepositoryRole 5", "RepositoryRole 2", "DeployKey None"
    everything = {"creation", "update", "deletion", "non_fast_forward"}
    assert bound("versions") == (["refs/tags/v*"], everything, [administrators])
    archives = ["refs/tags/archive/**/*", "refs/tags/archive"]
    assert bound("archive") == (archives, {"creation"}, [environments])
    # The record of trainings is kept: nobody changes it.
    assert bound("records") == (["refs/tags/archive/**/*"], everything - {"creation"}, [])
    branches, rules, actors = bound("candidates")
    assert set(branches) >= {"refs/heads/candidate/**/*", "refs/heads/run/**/*"}
    assert (rules, actors) == ({"creation", "update"}, [environments, maintainers, administrators])
    branches, rules, actors = bound("promotions")
    assert set(branches) >= {f"refs/heads/{one}/**/*" for one in ("promote", "promote-wave", "deploy")}
    assert (rules, actors) == ({"creation", "update"}, [maintainers, administrators])


def test_nobody_takes_the_name_of_a_folder_of_references() -> None:
    """Git holds no `rejected/dev/...` beside a tag `rejected`: who makes that, keeps each rejection out."""
    included = {name for one in load(RULESETS) for name in one.conditions.ref_name.include}
    folders = {name.removesuffix("/**/*") for name in included if name.endswith("/**/*")}
    assert len(folders) == 9
    assert folders <= included
    # A person publishes an approval, approved/<environment>/<release>/<who>. Its folders are nobody's.
    assert {f"refs/tags/{APPROVED}{below}" for below in ("", "/*", "/*/*")} <= included


def test_the_app_may_push_what_it_proposes_or_nothing_keeps_it_from_that() -> None:
    wanted = load(RULESETS)
    assert {one.name for one in wanted} - {one.name for one in with_app(wanted, None)} == {"promotions"}
    (promotions,) = [one for one in with_app(wanted, 123) if one.name == "promotions"]
    assert promotions.bypass_actors[-1].model_dump() == {
        "actor_id": 123,
        "actor_type": "Integration",
        "bypass_mode": "always",
    }


def test_they_are_made_then_left_and_put_right_again(forge: Forge) -> None:
    wanted = load(RULESETS)
    github = client(forge, administration="write", contents="read")
    assert set(dict(apply(github, wanted, dry=True)).values()) == {"missing"}
    assert forge.rulesets == {}
    assert set(dict(apply(github, wanted)).values()) == {"made"}
    assert set(dict(apply(github, wanted)).values()) == {"up to date"}
    # GitHub answers in an order of its own, with what it adds; a person turns one rule off.
    main = next(one for one in forge.rulesets.values() if one["name"] == "main")
    main["rules"].reverse()
    main["rules"][0]["parameters"]["added_by_github"] = True
    assert dict(apply(github, wanted))["main"] == "up to date"
    main["rules"] = main["rules"][1:]
    assert dict(apply(github, wanted, dry=True))["main"] == "different"
    assert dict(apply(github, wanted))["main"] == "changed"
    assert [(one.method, one.path.rpartition("/")[0]) for one in forge.requests if one.body] == [
        *[("POST", f"/repos/{NAME}")] * len(wanted),
        ("PUT", f"/repos/{NAME}/rulesets"),
    ]
    posted = next(one.body for one in forge.requests if one.body and one.body["name"] == "main")
    assert posted == json.loads((RULESETS / "main.json").read_text())


def test_main_waits_for_the_verdict_which_always_reports() -> None:
    (rule,) = [one for one in named("main").rules if one.type == "required_status_checks"]
    (check,) = rule.parameters["required_status_checks"]
    assert check["context"] == "verdict"

    def read(name: str) -> dict[str, Any]:
        return YAML(typ="safe").load((ROOT / f".github/workflows/{name}.yml").read_text())

    pull_request, judge, comment = read("pull-request"), *read("verdict")["jobs"].values()
    (asked,) = [step["run"] for step in judge["steps"] if "gitops check" in step.get("run", "")]
    assert set(JOBS) == set(pull_request["jobs"])
    assert "--jobs jobs.json" in asked
    # GitHub waits for a status that never comes, so nothing decides whether it is made.
    assert "context=verdict" in comment["steps"][0]["run"]
    assert comment["if"].startswith("always()")
    assert pull_request["on"] == {"pull_request": {"branches": ["main"]}, "merge_group": None}


def test_main_takes_merges_alone_and_asks_owners() -> None:
    (rule,) = [one for one in named("main").rules if one.type == "pull_request"]
    assert rule.parameters["require_code_owner_review"] is True
    # What a promotion names is found in the history of main alone.
    assert rule.parameters["allowed_merge_methods"] == ["merge"]


def test_only_environments_make_verdicts() -> None:
    verdicts = named("verdicts")
    # A star, be it one or two, stands for no slash there, unless it is these four signs.
    assert set(verdicts.conditions.ref_name.include) >= {
        f"refs/tags/{kind}/**/*" for kind in (VERIFIED, REJECTED, SHADOWED)
    }
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
    assert [str(finding) for finding in unknown_owners(github)] == [
        f"{line}; name a user or a team who can write here"
    ]
    monkeypatch.setenv("GITHUB_API_URL", f"{forge.url}/api")
    monkeypatch.setenv("GITHUB_REPOSITORY", NAME)
    monkeypatch.setenv("GITHUB_TOKEN", forge.token("admin", {"administration": "write", "contents": "read"}))
    done = CliRunner().invoke(app, ["github", "rulesets"])
    assert (done.exit_code, f"Cannot update the rulesets on GitHub: {line}" in done.stderr) == (1, True)
    forge.owner_errors = []
    assert CliRunner().invoke(app, ["github", "rulesets"]).exit_code == 0
    assert CliRunner().invoke(app, ["github", "rulesets", "--dry-run"]).exit_code == 0
    forge.rulesets.clear()
    assert CliRunner().invoke(app, ["github", "rulesets", "--dry-run"]).exit_code == 1
