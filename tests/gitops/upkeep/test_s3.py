"""Prune and doctor with a DVC remote behind S3."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gitops.cli import app
from tests.faults import server
from tests.support.figures import model_md5
from tests.support.lab import Lab
from tests.support.store import Trainings, digests, md5


@pytest.mark.long
def test_objects_behind_s3_go_and_come_back(
    lab: Lab, tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = tmp_path / "served" / "bucket"
    bucket.mkdir(parents=True)
    storage = server.s3(bucket.parent, tmp_path / "s3.log", "--dir-cache-time", "1s")
    storage.start()
    try:
        for name, value in server.S3_CLIENT.items():
            monkeypatch.setenv(name, value)
        config = isolated_home / "dvc" / "config"
        config.parent.mkdir()
        config.write_text(
            "[core]\nremote = storage\nanalytics = false\n['remote \"storage\"']\nurl = s3://bucket/dvc\n"
            f"endpointurl = http://127.0.0.1:{storage.port}\n"
        )
        monkeypatch.chdir(lab.clone.path)
        made = Trainings(lab, bucket / "dvc", tmp_path / "cache", monkeypatch)
        made.release("one", datetime.now(UTC) - timedelta(days=30), "staging")
        made.make("garbage", datetime.now(UTC) - timedelta(days=30))
        made.make("young", datetime.now(UTC) - timedelta(days=1))
        run = CliRunner()
        done = run.invoke(app, ["prune", "--yes"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        objects, trash = bucket / "dvc/files/md5", bucket / "dvc/files/trash"
        assert digests(trash) >= {model_md5("garbage"), md5(b"a part of garbage")}
        assert not digests(objects) & digests(trash)
        assert {model_md5("one"), model_md5("young"), md5(b"a part of all")} <= digests(objects)
        # Somebody needs them after all
        lab.branch("mine", dict(made.make("garbage", datetime.now(UTC))))
        for digest in digests(trash):
            (objects / digest[:2] / digest[2:]).unlink(missing_ok=True)
        done = run.invoke(app, ["prune", "--yes"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert {model_md5("garbage"), md5(b"a part of garbage")} <= digests(objects)
        (objects / model_md5("one")[:2] / model_md5("one")[2:]).unlink()
        named = run.invoke(app, ["doctor"])
        assert f"({model_md5('one')}): missing" in named.output.replace("\n", " ")
        done = run.invoke(app, ["doctor", "--repair", "--cache", str(tmp_path / "cache")])
        assert done.exit_code == 0, done.output
        assert model_md5("one") in digests(objects)
    finally:
        storage.kill()
