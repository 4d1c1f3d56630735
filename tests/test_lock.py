"""The lock holds what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def test_every_dependency_is_locked_at_a_version_that_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(one) for one in project["dependencies"] + project["optional-dependencies"]["dev"]]
    lines = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M)
    locked = {canonicalize_name(name): version for name, version in lines}
    for one in wanted:
        version = locked.get(canonicalize_name(one.name))
        assert version, f"{one.name} is not locked; run make lock"
        assert one.specifier.contains(version, prereleases=True), (
            f"{one} is locked at {version}; run make lock"
        )
