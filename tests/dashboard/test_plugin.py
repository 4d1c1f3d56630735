import ast
import json
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import dashboard
from dashboard.plugin import VisagePlugin
from tests.support.command import captured

PACKAGE = Path(dashboard.__file__).parent
HEAVY = ("torch", "pandas", "onnxruntime", "onnx", "evidently", "pyarrow", "numpy", "face_attributes", "dvc")

# What a scheduler does, and then what an api-server does.
PROBE = """
import json, sys
import airflow.plugins_manager
before = set(sys.modules)
from dashboard.plugin import VisagePlugin
light = sorted(set(sys.modules) - before)
plugin = VisagePlugin()
[mounted] = plugin.fastapi_apps
from dashboard import page
page.show(13)
print(json.dumps({"light": light, "all": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def test_airflow_finds_it_wherever_the_project_is_installed() -> None:
    [found] = [point for point in entry_points(group="airflow.plugins") if point.name == "visage"]
    assert found.load() is VisagePlugin


def test_it_has_an_entry_of_its_own_in_the_menu() -> None:
    [view] = VisagePlugin.external_views
    assert view["nav_top_level"]
    assert view["destination"] == "nav"
    assert not view["href"].startswith("/"), "a base URL with a path would be left out"
    [mounted] = VisagePlugin().fastapi_apps
    assert view["href"] == f"{mounted['url_prefix'].strip('/')}/"
    assert view["icon"] == f"{view['href']}static/icon.svg"


def test_other_processes_load_one_module_and_the_api_server_nothing_heavy(tmp_path: Path) -> None:
    done = captured(
        [sys.executable, "-c", PROBE],
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["light"] == ["dashboard", "dashboard.plugin"]
    assert not set(HEAVY) & set(found["all"])


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_it_imports_gitops_and_never_the_model(path: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    own = {
        "airflow",
        "dashboard",
        "fastapi",
        "gitops",
        "jinja2",
        "prometheus_client",
        "pydantic",
        "starlette",
        "yaml",
    }
    assert names - set(sys.stdlib_module_names) <= own
