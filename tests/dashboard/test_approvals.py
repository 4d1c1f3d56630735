"""The approvals of the running release, from the copy that has those of all environments."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dashboard import running
from dashboard.environment_paths import EnvironmentPaths
from gitops.airflow.board import BoardReferences
from gitops.release.approvals import give
from tests.dashboard.world import World


def test_who_approved_the_release_and_until_when(world: World, tmp_path: Path) -> None:
    lab, key = world.lab, tmp_path / "ada"
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(made, check=True, timeout=60, capture_output=True)
    settings, file = "environments/prod/settings.env", "environments/staging/environment.yaml"
    asked = (lab.origin.read("main", file) or b"") + b"\napprovals: 1\napprovals_days: 7\n"
    signed = (lab.origin.read("main", settings) or b"").replace(
        b"SIGNED_RELEASES=false", b"SIGNED_RELEASES=true"
    )
    people = f"ada@example.com {key.with_suffix('.pub').read_text()}".encode()
    lab.land({"environments/allowed_signers": people, settings: signed, file: asked})
    release = world.release("first")
    world.serve()
    paths = EnvironmentPaths.here()
    assert running.read(paths).approvals == ()
    person = {"gpg.format": "ssh", "user.signingKey": str(key), "user.email": "ada@example.com"}
    for name, value in person.items():
        lab.clone.git("config", name, value)
    now = datetime.now(UTC).replace(microsecond=0)
    state = lab.state()
    tag, _ = give(lab.clone, state.lists, state.environments["staging"], release, now=now)
    lab.clone.push(lab.remote, {f"refs/tags/{tag.name}": tag.object_id})
    before = running.fingerprint(paths)
    BoardReferences().fetch(running.repository(paths), str(lab.origin.path), None)
    assert running.fingerprint(paths) != before
    assert running.read(paths).approvals == (running.Approval("ada", now + timedelta(days=7)),)
    world.release("second")
    world.serve()
    assert running.read(paths).approvals == ()
