"""`gitops keys create`: the key of an environment that its engine does not make."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.release.keys import KeyList, PrivateKey, path_of
from tests.support.lab import Lab


@pytest.fixture
def run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(lab.clone.path)
    return lambda *arguments: CliRunner().invoke(app, ["keys", "create", *arguments])


def test_a_key_is_made_and_its_public_half_proposed(lab: Lab, run: Callable[..., Result]) -> None:
    canary = b"title: Canary\ncolor: slate\nafter: [staging]\n"
    settings = (lab.origin.read("main", "environments/staging/settings.env") or b"").replace(b"8081", b"8093")
    lab.land(
        {
            "environments/canary/environment.yaml": canary,
            "environments/canary/release.yaml": b"commit: null\n",
            "environments/canary/settings.env": settings.replace(b"staging", b"canary"),
        }
    )
    shown = run("canary")
    assert shown.exit_code == 0, shown.output
    file = lab.clone.path / ".visage/keys/canary"
    key = PrivateKey.load(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert key.line("canary").decode() in shown.output
    assert lab.origin.git("for-each-ref", "refs/heads/keys/") == ""

    pushed = run("canary", "--push")
    assert pushed.exit_code == 0, pushed.output
    assert PrivateKey.load(file).public == key.public
    lab.merge("keys/canary")
    listed = KeyList.read(lab.origin.read("main", path_of("canary")) or b"")
    assert listed.keys == {key.public}
    again = run("canary", "--push")
    assert (again.exit_code, again.output.splitlines()[-1]) == (
        0,
        f"Nothing to do: {path_of('canary')} lists it already",
    )


def test_a_file_elsewhere_and_an_environment_that_is_none(
    lab: Lab, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "key"
    assert run("staging", "--file", str(file)).exit_code == 0
    assert PrivateKey.load(file).public
    wrong = run("qa")
    assert wrong.exit_code == 1
    assert "qa: no such environment" in wrong.output
    file.write_text("no key")
    broken = run("staging", "--file", str(file))
    assert broken.exit_code == 1
    assert f"{file}: not a private key" in broken.output
