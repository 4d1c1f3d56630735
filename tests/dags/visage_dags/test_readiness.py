import subprocess
from pathlib import Path

import pytest

from visage_dags import readiness


@pytest.fixture
def checkout(tmp_path: Path, isolated_home: Path) -> Path:
    """A checkout with every file that a run needs, and a DVC remote in a folder."""
    folder = tmp_path / "checkout"
    for name in readiness.FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], cwd=folder, check=True, timeout=60)
    config = isolated_home / "dvc" / "config"
    config.parent.mkdir()
    (tmp_path / "remote").mkdir()
    config.write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {tmp_path / 'remote'}\n")
    return folder


def test_nothing_is_missing(checkout: Path, tmp_path: Path) -> None:
    assert readiness.lacks(checkout, tmp_path) == []


def test_everything_that_is_missing_is_named(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "dvc.yaml").unlink()
    (checkout / "params.yaml").unlink()
    (tmp_path / "remote").rmdir()
    monkeypatch.setattr(readiness, "FREE_BYTES", 2**60)
    found = "\n".join(readiness.lacks(checkout, tmp_path))
    assert "dvc.yaml: not in this commit" in found
    assert "params.yaml: not in this commit" in found
    assert "GiB free, 1073741824 GiB needed" in found
    assert f"DVC remote: {tmp_path / 'remote'}: no such folder" in found


def test_drawn_faces_need_no_waiting(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()
    assert Path(readiness.raw_data_pattern("synthetic", tmp_path)).is_file()


def test_photographs_are_waited_for_in_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="CELEBA_DIR: not set"):
        readiness.raw_data_pattern("celeba", tmp_path)
    monkeypatch.setenv("CELEBA_DIR", "/photographs")
    assert readiness.raw_data_pattern("celeba", tmp_path) == "/photographs/list_attr_celeba.*"
