from pathlib import Path

import pytest

from gitops.airflow import runbooks
from visage_dags import alerts

ROOT = Path(__file__).resolve().parents[3]
PAGE = "https://github.com/team/visage/blob/abc/docs/runbooks/drift.md"


@pytest.mark.parametrize(
    "origin",
    [
        "https://github.com/team/visage",
        "https://github.com/team/visage.git",
        "https://x-access-token:secret@github.com/team/visage.git",  # pragma: allowlist secret
        "git@github.com:team/visage.git",
        "ssh://git@github.com/team/visage.git",
    ],
)
def test_on_github_a_page_has_an_address_without_secrets(origin: str) -> None:
    assert runbooks.link("drift", origin, "abc", ROOT) == PAGE


def test_elsewhere_it_is_a_file_of_the_release() -> None:
    for name in (alerts.DRIFT, alerts.ACCURACY, "verify_release"):
        page = Path(runbooks.link(name, "/srv/origin.git", "abc", ROOT))
        assert page.is_relative_to(ROOT)
        text = page.read_text("utf-8")
        for part in ("## Meaning", "## Diagnosis", "## Mitigation"):
            assert part in text


def test_without_a_checkout_it_is_a_page_of_the_repository() -> None:
    assert runbooks.link("drift", "/srv/origin.git", "abc") == "docs/runbooks/drift.md in the repository"
    assert runbooks.link("drift", "git@github.com:team/visage.git", "abc") == PAGE
    assert runbooks.link("drift", "git@github.com:team/visage.git", "") == PAGE.replace("abc", "main")
