import shlex
import subprocess

import pytest

from gitops.dvc import provenance
from gitops.text import instructions
from gitops.text.instructions import COMPOSE, LOCAL, meeting, meeting_of, text
from tests.support.command import captured

GITHUB = "https://github.com/team/visage"


def test_the_way_back_on_the_local_engine_is_whole() -> None:
    assert text(instructions.roll_back("prod")) == (
        ".venv/bin/gitops rollback prod --push\n.venv/bin/gitops merge rollback/prod\n.venv/bin/gitops status"
    )


def test_options_can_be_pasted() -> None:
    first, *_ = instructions.roll_back("prod", to="a" * 40, reason="it's too slow; `rm`")
    said = captured(
        ["sh", "-c", first.replace(".venv/bin/gitops", "printf '%s\\n'")], check=True
    ).stdout.splitlines()
    assert said == ["rollback", "prod", "--to", "a" * 12, "--reason", "it's too slow; `rm`", "--push"]


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("/home/me/visage/.visage/origin.git", LOCAL),
        ("/srv/visage/.compose/origin.git", COMPOSE),
        ("git://git/origin.git", COMPOSE),
    ],
)
def test_the_engines_repositories_are_known(url: str, there: instructions.Meeting) -> None:
    assert meeting(url) == there


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/team/visage.git",
        # pragma: allowlist nextline secret
        "https://x:secret@github.com/team/visage",
        "git@github.com:team/visage.git",
    ],
)
def test_on_github_the_pull_request_is_merged(url: str) -> None:
    commands = instructions.roll_back("prod", meeting(url))
    assert commands == (
        "export GITOPS_REMOTE=origin",
        ".venv/bin/gitops rollback prod --push",
        f"# merge the pull request: {GITHUB}/compare/main...rollback/prod?expand=1",
        ".venv/bin/gitops status",
    )


def test_on_another_forge_a_pull_request_is_opened_and_nothing_is_merged_past_it() -> None:
    for url in ("https://git.example/visage.git", "git@git.example:visage.git"):
        commands = instructions.lift_hold("prod", meeting(url))
        assert "# open a pull request from unhold/prod into main, and merge it" in commands
        assert not any("gitops merge" in command for command in commands)


def test_a_checkout_names_the_remote_only_where_it_has_to() -> None:
    assert meeting_of("/srv/git/visage.git", "origin", "origin").before == ()
    assert meeting_of("/srv/git/visage.git", "upstream", "origin").before == (
        "export GITOPS_REMOTE=upstream",
    )
    assert meeting_of(GITHUB, "origin", "visage").before == ("export GITOPS_REMOTE=origin",)


def test_dev_goes_back_by_a_revert_that_stops_where_a_step_fails() -> None:
    commit = "c" * 40
    assert instructions.revert(commit, 2) == (
        "git fetch visage && git switch --create revert-cccccccccccc visage/main"
        " && git revert --no-edit -m 1 cccccccccccc && git push visage revert-cccccccccccc",
        ".venv/bin/gitops merge revert-cccccccccccc",
        ".venv/bin/gitops status",
    )
    assert "-m 1" not in text(instructions.revert(commit, 1))


# git allows all of these characters in the name of a branch, or of a remote.
HOSTILE = "a;touch${IFS}owned|`b`&'\"$(c)"


def test_a_name_stays_one_word_whatever_it_is_made_of() -> None:
    at = instructions.Meeting(HOSTILE, before=meeting_of("/srv/a.git", HOSTILE, "origin").before)
    lines = [
        instructions.train(HOSTILE, "--profile", "small"),
        *instructions.review(HOSTILE),
        instructions.push(HOSTILE, HOSTILE),
        *instructions.after_push(HOSTILE),
        *instructions.revert("c" * 40, 1, at),
    ]
    for line in lines:
        words = [word for word in shlex.split(line) if "owned" in word]
        assert {word.removeprefix("GITOPS_REMOTE=").removesuffix("/main") for word in words} <= {HOSTILE}
    assert shlex.split(provenance.train_command(HOSTILE)) == [
        *("train", "it:", ".venv/bin/gitops", "train", HOSTILE, "--wait")
    ]


@pytest.mark.parametrize("at", [LOCAL, COMPOSE, meeting(GITHUB)])
def test_a_shell_takes_every_line(at: instructions.Meeting) -> None:
    for commands in (
        instructions.promote("staging", at),
        instructions.roll_back("prod", at),
        instructions.lift_hold("prod", at),
        instructions.revert("c" * 40, 2, at),
    ):
        subprocess.run(["bash", "-n", "-c", text(commands)], check=True)
        assert commands[-1] == ".venv/bin/gitops status"
