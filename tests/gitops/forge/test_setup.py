"""`gitops github setup`, `doctor` and `app`; GitHub's OpenAPI description checks the requests."""

import shutil
import threading
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.errors import ForgeError
from gitops.forge import setup
from gitops.forge.app import create
from gitops.forge.github import GitHub
from gitops.forge.ruleset import load
from tests.support.forge import NAME, Forge
from tests.support.forge_server import client

ROOT = Path(__file__).resolve().parents[3]
MAY = {"administration": "write", "contents": "read", "issues": "write", "actions": "read"}


@pytest.fixture
def checkout(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GITHUB_API_URL", f"{forge.url}/api")
    monkeypatch.setenv("GITHUB_TOKEN", forge.token("administrator", MAY))


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["github", *arguments], input=answer)


def writes(forge: Forge) -> list[str]:
    return [one.path for one in forge.requests if one.method != "GET"]


@pytest.mark.usefixtures("checkout")
def test_a_new_repository_is_set_up_at_once_and_then_left_alone(forge: Forge, tmp_path: Path) -> None:
    options = (NAME, "--app", "7")
    assert run("doctor", *options).exit_code == 1
    assert writes(forge) == []

    done = run("setup", *options, "--keys", str(tmp_path / "keys"), "--yes")
    assert done.exit_code == 1, "secrets are for a person"
    assert "to change  merges: allow_squash_merge: true -> false" in done.stdout
    for_you = done.stdout.partition("For you:")[2]
    assert f"gh secret set VISAGE_APP_PRIVATE_KEY --env proposals --repo {NAME}" in for_you
    assert f"gh variable set VISAGE_APP_CLIENT_ID --repo {NAME}" in for_you
    assert "to change" not in for_you
    assert "GitHub: " not in for_you
    assert forge.settings[""]["allow_squash_merge"] is False
    assert forge.settings[""]["delete_branch_on_merge"] is True
    assert forge.settings["actions/permissions"]["sha_pinning_required"] is True
    assert forge.policies == {name: [{"name": "main"}] for name in ("models", "prod", "proposals")}
    assert "environment prod: required reviewers: name the owners in Settings" in for_you
    assert len(forge.rulesets) == len(load(ROOT / ".github/rulesets"))
    assert [key["title"] for key in forge.keys] == ["dev", "staging", "prod"]
    for key in forge.keys:
        assert key["read_only"] is False
        assert key["key"].startswith("ssh-ed25519 ")
        assert (tmp_path / "keys" / key["title"]).stat().st_mode & 0o077 == 0

    forge.requests.clear()
    again = run("setup", *options, "--yes")
    assert writes(forge) == []
    assert "to change" not in again.stdout

    # What a person does
    for name, secrets in setup.needs(ROOT).items():
        forge.settings[f"environments/{name}/secrets"] = {"secrets": [{"name": one} for one in secrets]}
    reviewers = {"type": "required_reviewers", "reviewers": [{"type": "Team", "reviewer": {"slug": "leads"}}]}
    forge.settings["environments/prod"]["protection_rules"] = [{"type": "branch_policy"}, reviewers]
    names = ("VISAGE_APP_CLIENT_ID", "VISAGE_TRUST_ROOT")
    forge.settings["actions/variables"] = {"variables": [{"name": name} for name in names]}
    healthy = run("doctor", *options).stdout.splitlines()
    assert [line for line in healthy[:-1] if not line.startswith("ok ")] == [
        "for you    digest of CML: make pin-cml; until then reports are posted without CML"
    ]

    reviewers["reviewers"] = []
    assert "for you    environment prod: required reviewers" in run("doctor", *options).stdout

    # Somebody changes one
    forge.settings["actions/permissions"]["allowed_actions"] = "all"
    done = run("doctor", *options)
    assert done.exit_code == 1
    assert 'allowed_actions: "all" -> "selected"' in done.stdout


@pytest.mark.usefixtures("checkout")
def test_the_owners_of_prod_are_its_reviewers(forge: Forge, tmp_path: Path) -> None:
    for folder in (".github", "environments"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    lines = "* @ann\n/environments/prod/ @acme/leads ann@acme.org @bob\n/environments/staging/release.yaml\n"
    (tmp_path / ".github/CODEOWNERS").write_text(lines)
    forge.settings |= {"/orgs/acme/teams/leads": {"id": 5}, "/users/bob": {"id": 7}}

    token = forge.token("administrator", MAY)

    def item() -> setup.Item:
        items = setup.plan(GitHub(NAME, token, api=f"{forge.url}/api"), tmp_path, [])
        return next(one for one in items if one.name == "environment prod: required reviewers")

    assert (item().state, item().text) == ("change", "@acme/leads, @bob")
    assert setup.apply(item()) == setup.Item(
        "environment prod: required reviewers", "ok", "@acme/leads, @bob"
    )
    rule = {"type": "required_reviewers", "reviewers": [{"type": "Team", "id": 5}, {"type": "User", "id": 7}]}
    assert forge.settings["environments/prod"]["protection_rules"] == [rule]
    assert forge.settings["environments/prod"]["deployment_branch_policy"]["custom_branch_policies"] is True
    assert item().state == "ok"

    del forge.settings["environments/prod"], forge.settings["/users/bob"]
    assert setup.apply(item()).state == "person", "GitHub knows no such user"


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        # SECURITY.md sends people to *Report a vulnerability*.
        ("private-vulnerability-reporting", {"enabled": True}),
        ("automated-security-fixes", {"enabled": True}),
        ("immutable-releases", {"enabled": True}),
        ("vulnerability-alerts", {}),
        ("code-scanning/default-setup", {"state": "configured"}),
        # Without it, an organisation refuses every deploy key.
        ("/orgs/acme", {"deploy_keys_enabled_for_repositories": True}),
    ],
)
def test_features_that_are_off_in_a_new_repository_are_switched_on(
    forge: Forge, path: str, wanted: dict[str, object]
) -> None:
    before = forge.settings.get(path)
    run("setup", NAME, "--yes")
    assert forge.settings[path] != before
    assert forge.settings[path].items() >= wanted.items()


@pytest.mark.usefixtures("checkout")
def test_nothing_is_changed_without_a_yes(forge: Forge) -> None:
    assert run("setup", NAME, answer="n\n").exit_code == 1
    assert writes(forge) == []


@pytest.mark.usefixtures("checkout")
def test_the_allowed_actions_are_those_of_the_workflows(forge: Forge) -> None:
    run("setup", NAME, "--yes")
    allowed = forge.settings["actions/permissions/selected-actions"]["patterns_allowed"]
    assert {"docker/build-push-action@*", "actions/checkout@*"} <= set(allowed)
    assert {name.partition("/")[0] for name in allowed} == {"actions", "docker"}


@pytest.mark.usefixtures("checkout")
def test_a_plan_that_lacks_a_feature_is_reported_and_the_rest_is_done(forge: Forge) -> None:
    lacking = ("default-setup", "rulesets", "codeowners/errors")
    forge.broken = lambda request: 403 if request.path.endswith(lacking) else None
    done = run("setup", NAME, "--yes")
    for name in ("rulesets", "owners"):
        assert f"for you    {name}: GitHub: GET " in done.stdout
    assert "for you    CodeQL: GitHub: GET code-scanning/default-setup: 403" in done.stdout
    assert forge.settings[""]["allow_squash_merge"] is False


@pytest.mark.usefixtures("checkout")
def test_an_environment_that_another_branch_may_use_is_reported(forge: Forge) -> None:
    forge.policies["models"] = [{"name": "main"}, {"name": "*"}]
    assert "environment models: main alone: remove * in Settings" in run("doctor", NAME).stdout


@pytest.mark.usefixtures("checkout")
def test_a_person_has_no_organisation_to_ask(forge: Forge) -> None:
    forge.settings[""]["owner"] = {"login": "acme", "type": "User"}
    assert "organisation" not in run("doctor", NAME).stdout


@pytest.mark.usefixtures("checkout")
def test_a_merge_queue_keeps_branches_up_to_date_in_the_place_of_a_person(forge: Forge) -> None:
    run("setup", NAME, "--merge-queue", "--yes")
    (main,) = [one for one in forge.rulesets.values() if one["name"] == "main"]
    rules = {rule["type"]: rule.get("parameters", {}) for rule in main["rules"]}
    assert rules["merge_queue"]["merge_method"] == "MERGE"
    assert rules["required_status_checks"]["strict_required_status_checks_policy"] is False


@pytest.fixture
def github(forge: Forge) -> GitHub:
    return client(forge, administration="write", contents="read")


def test_the_app_is_made_at_one_click(forge: Forge, github: GitHub) -> None:
    """The browser sends the manifest to GitHub, which sends it back with a code."""
    answers: list[str] = []

    def click(address: str) -> None:
        def browse() -> None:
            form = requests.get(address, timeout=10).text
            state = form.partition("state=")[2].partition('"')[0]
            for code, known in (("wrong", "another"), ("good", state)):
                asked = {"code": code, "state": known}
                answers.append(requests.get(address, params=asked, timeout=10).text)

        threading.Thread(target=browse).start()

    made = create(github, "visage-acme", click, seconds=30)
    assert (made.id, made.client_id, made.private_key) == (7, *forge.app)
    assert "Go to GitHub" in answers[0], "it takes no code without its own state"


def test_nobody_waits_for_a_click_for_ever(github: GitHub) -> None:
    with pytest.raises(ForgeError, match="nobody created the App in time"):
        create(github, "visage-acme", lambda page: None, seconds=0.01)
