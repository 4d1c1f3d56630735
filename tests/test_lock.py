"""The lock holds the dependencies of the workspace and of each of its distributions."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


PROJECTS = [
    "pyproject.toml",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("src/*/pyproject.toml"))),
]
DISTRIBUTIONS = {
    "visage-dashboard",
    "visage-drawn-faces",
    "visage-face-attributes",
    "visage-gitops",
    "visage-serving",
}


def requirements(path: str) -> list[Requirement]:
    """Return the dependencies of a pyproject.toml, with those of its extras."""
    project = tomllib.loads((ROOT / path).read_text())["project"]
    extras = project.get("optional-dependencies", {})
    return [Requirement(one) for one in [*project["dependencies"], *chain.from_iterable(extras.values())]]


@pytest.mark.parametrize("path", PROJECTS)
def test_every_dependency_is_locked_at_a_version_that_it_allows(path: str) -> None:
    wanted = [one for one in requirements(path) if one.name not in DISTRIBUTIONS]
    lines = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M)
    locked = {canonicalize_name(name): version for name, version in lines}
    for one in wanted:
        version = locked.get(canonicalize_name(one.name))
        assert version, f"{one.name} is not locked; run make lock"
        assert one.specifier.contains(version, prereleases=True), (
            f"{one} is locked at {version}; run make lock"
        )


def test_a_library_has_the_same_limits_wherever_it_is_declared() -> None:
    limits: dict[str, set[str]] = defaultdict(set)
    for one in chain.from_iterable(map(requirements, PROJECTS)):
        if one.specifier:
            limits[canonicalize_name(one.name)].add(str(one.specifier))
    assert limits
    assert {name: found for name, found in limits.items() if len(found) > 1} == {}


def pins(path: str) -> dict[str, list[str]]:
    """Return the digests of each package in a file of pins."""
    blocks = re.split(r"\n(?=[a-z])", (ROOT / path).read_text())
    return {
        one.split()[0]: re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", one) for one in blocks if "==" in one
    }


def test_every_package_has_the_digests_of_its_files() -> None:
    without = [name.partition("==")[0] for name, digests in pins("requirements.lock").items() if not digests]
    assert without == ["torch"], "its build for the CPU and its build for CUDA have the same version"
    [uv] = [name for name in pins("infra/uv.txt") if name.startswith("uv==")]
    assert pins("infra/uv.txt")[uv]
    for file in ("Makefile", "infra/airflow/Dockerfile"):
        assert "--require-hashes --requirement" in (ROOT / file).read_text()


def test_the_programs_that_build_a_distribution_are_locked_too() -> None:
    """They run in every job, those with keys too, before anything of this repository."""
    locked = {Requirement(name.rstrip("\\ ")).name: name for name in pins("requirements.lock")}
    for path in PROJECTS[1:]:
        for one in tomllib.loads((ROOT / path).read_text())["build-system"]["requires"]:
            assert locked[Requirement(one).name] == one, f"{path} builds with {one}"
    assert "editables" in locked, "hatchling asks for it to build an editable distribution"
    assert "export UV_BUILD_CONSTRAINT := requirements.lock\n" in (ROOT / "Makefile").read_text()
    assert "UV_BUILD_CONSTRAINT=/build/requirements.lock" in (ROOT / "infra/airflow/Dockerfile").read_text()


def _wheel(folder: Path, name: str, code: str = "") -> Path:
    path, info = folder / f"{name}-1-py3-none-any.whl", f"{name}-1.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", code)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.parametrize("option", ["--requirements", "--constraints", "--build-constraints"])
def test_a_file_with_another_digest_is_not_installed(tmp_path: Path, option: str) -> None:
    """As setup installs the lock, as the small installations use it, and as all use it to build."""
    built, project = _wheel(tmp_path, "built"), tmp_path / "project"
    build = f"import shutil\ndef build_wheel(folder, *_):\n    shutil.copy({str(built)!r}, folder)\n"
    wheel = _wheel(tmp_path, "thing", f"{build}    return {built.name!r}\n")
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["thing"]\nbuild-backend = "thing"\n'
        '[project]\nname = "built"\nversion = "1"\n'
    )
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for digest, status in ((right, 0), ("0" * 64, 1)):
        lock = tmp_path / "lock.txt"
        lock.write_text(f"thing==1 --hash=sha256:{digest}\n")
        what = {"--requirements": [], "--constraints": ["thing"], "--build-constraints": [project]}[option]
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("uv"), "pip", "install", "--no-index", "--offline"),
                *("--find-links", tmp_path, "--target", tmp_path / digest[:4], option, lock, *what),
            ],
            env={"PATH": os.environ["PATH"], "UV_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stderr
        assert status == 0 or "Hash mismatch" in done.stderr


def test_the_digests_of_images_are_written_where_the_images_are_named(tmp_path: Path) -> None:
    files = ("infra/airflow/Dockerfile", "infra/compose/services.yml", "infra/kubernetes/drill/drill.yaml")
    for name in ("scripts/pin_images.sh", *files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "scripts/pin_images.sh").chmod(0o755)
    docker = tmp_path / "docker"
    for letter in ("a", "b"):
        docker.write_text(f"#!/bin/sh\necho sha256:{letter * 64}\n")
        docker.chmod(0o755)
        subprocess.run(
            [tmp_path / "scripts/pin_images.sh"],
            env={"PATH": f"{tmp_path}:{os.defpath}"},
            check=True,
            timeout=60,
        )
        digest = f"@sha256:{letter * 64}"
        dockerfile = (tmp_path / "infra/airflow/Dockerfile").read_text()
        services = (tmp_path / "infra/compose/services.yml").read_text()
        assert f"ARG BASE_IMAGE=python:3.11-slim-bookworm{digest}\n" in dockerfile
        for image in ("python:3.11-slim-bookworm", "postgres:17-bookworm", "redis:7.2-bookworm"):
            assert f":-{image}{digest}}}" in services
    docker.write_text("#!/bin/sh\necho no such thing\n")
    before = services
    done = subprocess.run(
        [tmp_path / "scripts/pin_images.sh"],
        env={"PATH": f"{tmp_path}:{os.defpath}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "is no digest" in done.stderr) == (1, True)
    assert (tmp_path / "infra/compose/services.yml").read_text() == before
