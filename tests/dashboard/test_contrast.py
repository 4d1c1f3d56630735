"""The colours of the page can be read, in every environment, light and dark: WCAG 2.2, level AA."""

import json
import math
import re

import pytest

from gitops.release import settings
from tests.dashboard.world import ROOT
from tests.support.environments import ENVIRONMENTS

STYLE = (ROOT / "src/dashboard/static/style.css").read_text()
TEXT, GRAPHIC = 4.5, 3.0
# Foreground, background, and what it takes.
PAIRS = (
    ("text", "page", TEXT),
    ("text", "panel", TEXT),
    ("text", "bad-tint", TEXT),
    ("text", "warn-tint", TEXT),
    ("soft", "page", TEXT),
    ("soft", "panel", TEXT),
    ("accent", "page", TEXT),
    ("accent", "panel", TEXT),
    ("accent", "tint", TEXT),
    ("top-text", "top", TEXT),
    ("good", "good-tint", TEXT),
    ("warn", "warn-tint", TEXT),
    ("bad", "bad-tint", TEXT),
    ("bad", "panel", GRAPHIC),
    ("ink", "page", GRAPHIC),
    ("ink", "panel", GRAPHIC),
    ("mark", "page", GRAPHIC),
    ("mark", "panel", GRAPHIC),
)


def brand(environment: str) -> dict[str, str]:
    theme = json.loads(settings.load(environment, ROOT).variables["AIRFLOW__API__THEME"])
    return {f"brand-{shade}": one["value"] for shade, one in theme["tokens"]["colors"]["brand"].items()}


def variables(environment: str, scheme: str) -> dict[str, str]:
    """Return the variables of the style sheet as they are under a colour scheme."""
    root = re.search(r"^:root \{(.*?)^\}", STYLE, re.DOTALL | re.MULTILINE)
    assert root
    chosen = re.sub(r"light-dark\((.+), (.+)\);", r"\1;" if scheme == "light" else r"\2;", root[1])
    return brand(environment) | dict(re.findall(r"--([\w-]+):\s*([^;]+);", chosen))


def rgb(value: str, known: dict[str, str]) -> tuple[float, float, float]:
    """Return a colour's red, green and blue, linear, 0 to 1."""
    if found := re.fullmatch(r"var\(--([\w-]+)\)", value):
        return rgb(known[found[1]], known)
    if value.startswith("#"):
        parts = [int(value[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
        )
        return red, green, blue
    found = re.fullmatch(r"oklch\(([\d.]+) ([\d.]+) ([\d.]+)\)", value)
    assert found, value
    light, chroma, hue = map(float, found.groups())
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    l, m, s = (  # noqa: E741
        (light + 0.3963377774 * a + 0.2158037573 * b) ** 3,
        (light - 0.1055613458 * a - 0.0638541728 * b) ** 3,
        (light - 0.0894841775 * a - 1.2914855480 * b) ** 3,
    )
    linear = (
        4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
        -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
        -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s,
    )
    red, green, blue = (min(max(one, 0.0), 1.0) for one in linear)
    return red, green, blue


def contrast(one: str, other: str, known: dict[str, str]) -> float:
    def luminance(value: str) -> float:
        red, green, blue = rgb(value, known)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_that_of_the_recommendation() -> None:
    assert contrast("#000000", "#ffffff", {}) == pytest.approx(21)
    assert contrast("#777777", "#ffffff", {}) == pytest.approx(4.48, abs=0.01)
    assert contrast("oklch(0.5 0 0)", "#636363", {}) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_is_written_can_be_read(environment: str, scheme: str) -> None:
    known = variables(environment, scheme)
    weak = {
        f"{front} on {back}": round(found, 2)
        for front, back, needed in PAIRS
        if (found := contrast(known[front], known[back], known)) < needed
    }
    assert weak == {}


def test_the_alarm_can_be_read() -> None:
    assert contrast("#ffffff", "#b91c1c", {}) >= TEXT
    assert re.search(r"\.alert\.bad \{[^}]*background: #b91c1c;[^}]*color: #ffffff;", STYLE)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environments_hue_is_none_of_a_state(environment: str) -> None:
    """Green, amber and red say how something is; an environment is told by another hue."""
    for value in brand(environment).values():
        hue = float(value.removesuffix(")").split()[-1])
        assert 170 <= hue <= 300, value


def test_plots_are_drawn_in_a_neutral_ink() -> None:
    for selector in ("rect.bar", ".line", ".whiskers", ".dot", ".point"):
        rules = "".join(re.findall(rf"(?:^|\n){re.escape(selector)} \{{([^}}]*)\}}", STYLE))
        assert "--ink" in rules, selector
        assert "--mark" not in rules, selector
    assert "var(--bad)" in re.search(r"\.dot\.bad \{([^}]*)\}", STYLE)[1]
