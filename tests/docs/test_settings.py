"""A reader may put every setting that a page shows into a settings.env."""

import re
from pathlib import Path

import pytest

from gitops.errors import SettingsError
from gitops.release import airflow_options
from gitops.release.settings import NAMES, REFUSED, Settings, path_of
from tests.docs.pages import ROOT, Page, pages

DEV = (ROOT / path_of("dev")).read_text()
# The first column of this page has names of Airflow 2.
AIRFLOW_2 = Path("docs/airflow-2-commands.md")
_OPTION = re.compile(r"\b(?:AIRFLOW__[A-Z0-9]+(?:_[A-Z0-9]+)*__|OTEL_)[A-Z0-9_]*[A-Z0-9]\b")


def options(page: Page) -> set[str]:
    """Return the options of Airflow that a page names."""
    text = (page.root / page.path).read_text()
    if page.path == AIRFLOW_2:
        text = re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE)
    return set(_OPTION.findall(text))


def lines(page: Page) -> list[str]:
    """Return the lines that a page shows for a settings.env; connections are lines of another file."""
    shown = "".join(block.text for block in page.blocks if block.language == "ini").splitlines()
    return [line for line in shown if re.match(r"(?!AIRFLOW_CONN_)[A-Z][A-Z0-9_]*=", line)]


def set_in_dev(line: str) -> Settings:
    key, _, value = line.partition("=")
    text = re.sub(rf"^{key}=.*\n", "", DEV, flags=re.MULTILINE)
    return Settings.from_file(f"{text}{key}={value}\n".encode(), "dev")


LINES = sorted({(str(page.path), line) for page in pages() for line in lines(page)})


def test_there_are_pages_with_settings() -> None:
    shown = {line.partition("=")[0] for _, line in LINES}
    assert {"NOTIFY_EMAIL", "AIRFLOW__CORE__AUTH_MANAGER", "AIRFLOW__LOGGING__REMOTE_LOGGING"} <= shown


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_settings_env_takes_what_a_page_shows(page: str, line: str) -> None:
    key, _, value = line.partition("=")
    assert set_in_dev(line).variables[key] == value, page


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.path))
def test_an_option_on_a_page_is_known_or_refused_for_a_reason(page: Page) -> None:
    known = airflow_options.locked()
    for name in options(page) - known.types.keys() - REFUSED.keys():
        # A look-up of a secret is known by the secret's name; others are checked with their message.
        assert airflow_options.fault(name, "1", NAMES) is None, f"{page.path}: {name}"


def test_a_page_that_shows_an_unknown_option_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("`AIRFLOW__CORE__PARALELLISM`\n\n```ini\nWEB_PRT=1\n```\n")
    page = Page(Path("page.md"), tmp_path)
    assert options(page) == {"AIRFLOW__CORE__PARALELLISM"}
    assert airflow_options.fault("AIRFLOW__CORE__PARALELLISM", "1", NAMES)
    [line] = lines(page)
    with pytest.raises(SettingsError, match="did you mean WEB_PORT"):
        set_in_dev(line)
