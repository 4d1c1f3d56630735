"""The lock holds the dependencies of the workspace and of each of its distributions."""

import re
import tomllib
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
DISTRIBUTIONS = {"visage-dashboard", "visage-drawn-faces", "visage-face-attributes", "visage-gitops"}


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
