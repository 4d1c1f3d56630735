import json

import pytest

from dashboard import colours
from gitops.release import settings
from tests.dashboard.world import ROOT
from tests.support.environments import ENVIRONMENTS

THEME = "AIRFLOW__API__THEME"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environments_theme(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theme = settings.load(environment, ROOT).variables[THEME]
    monkeypatch.setenv(THEME, theme)
    brand = json.loads(theme)["tokens"]["colors"]["brand"]
    css = colours.css()
    for shade in colours.SHADES:
        assert f"--brand-{shade}: {brand[str(shade)]['value']};" in css


def test_what_is_no_colour_does_not_become_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = "red;} body { background: url(https://elsewhere)"
    monkeypatch.setenv(THEME, json.dumps({"tokens": {"colors": {"brand": {"50": {"value": bad}, "100": 3}}}}))
    css = colours.css()
    assert "elsewhere" not in css
    assert css.count("oklch(") == len(colours.SHADES)
