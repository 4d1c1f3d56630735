import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from typer.testing import CliRunner, Result

from gitops.cli import app
from gitops.errors import RuleError
from gitops.findings import Finding
from gitops.history import board_page, page
from gitops.history.board import Board, Place, Waiting
from gitops.history.load import load_board
from gitops.model.cost import Cost, StageCost
from gitops.promotion.holds import hold
from gitops.promotion.promotions import promote
from gitops.promotion.proposals import push
from gitops.release.approvals import Given
from tests.support import browser
from tests.support.figures import model_files
from tests.support.lab import Lab

HOSTILE = "</style><script>alert(1)</script> & \"quotes\" javascript:'x'"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release in staging, a newer one in dev, and prod on hold with another one proposed."""
    folder = tmp_path_factory.mktemp("board") / "lab"
    with pytest.MonkeyPatch.context() as patch:
        _make(folder, patch)
    return folder


@pytest.fixture
def lab(tmp_path: Path, template: Path) -> Lab:
    return Lab(tmp_path / "lab", template)


def _make(folder: Path, patch: pytest.MonkeyPatch) -> None:
    lab = Lab(folder)
    for role in ("AUTHOR", "COMMITTER"):
        patch.setenv(f"GIT_{role}_NAME", "Ada")
        patch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    lab.train("a")
    lab.promote("staging")
    patch.setenv("GIT_AUTHOR_NAME", "Grace")
    lab.merge("promote/staging")
    lab.verify("staging", lab.state().present("staging").commit or "")
    lab.promote("prod")
    proposal = hold(lab.clone, lab.state(), "prod", "origin", HOSTILE, until=date(2099, 1, 2))
    push(lab.clone, "origin", proposal)
    lab.merge(proposal.branch)
    lab.train("b", 0.91)
    lab.verify("dev", lab.land({"params.yaml": b"profile: full\n"}, message=HOSTILE))


def board(lab: Lab) -> Board:
    return load_board(lab.clone, lab.state(), "origin", datetime.now(UTC))


def places(lab: Lab) -> dict[str, Place]:
    return {place.name: place for place in board(lab).places}


def test_what_each_environment_has_since_when_and_by_whom(lab: Lab) -> None:
    found = places(lab)
    dev, staging, prod = found.values()
    assert (dev.release, dev.follows, dev.verdict, dev.waiting) == (lab.tip, True, "verified", None)
    assert staging.deployment is not None
    assert staging.deployment.change.commit.author == "Grace <ada@example.org>"
    assert staging.deployment.change.proposed_by == "Ada <ada@example.org>"
    assert (staging.verdict, staging.measured) == ("verified", 0.9)
    assert staging.accuracy is not None
    assert staging.accuracy.value == 0.9
    assert (prod.release, prod.deployment, prod.verdict) == (None, None, "")


def test_the_cost_of_a_model_is_that_of_the_run_that_made_it(lab: Lab) -> None:
    def trained(name: str, run: str, seconds: float) -> str:
        stage = StageCost(seconds=9, cpu_seconds=seconds, peak_bytes=10**9, read_bytes=1, written_bytes=1)
        message = f"Candidate\n\n{Cost(run=run, stages={'train': stage}).trailer}\n"
        commit = lab.commit(model_files(name), message=message)
        lab.origin.git("update-ref", f"refs/heads/candidate/{name}", commit)
        return commit

    trained("c", "run/c", 3600)
    lab.clone.fetch("origin")
    lab.merge("candidate/c")
    assert [place.cost for place in places(lab).values()][1:] == [None, None]
    trained("d", "run/d", 1800)
    lab.clone.fetch("origin")
    lab.merge("candidate/d")
    lab.land({"README.md": b"more"})
    shown = board(lab)
    spent = shown.places[0].cost
    assert spent is not None
    assert spent.cpu_seconds == 1800
    assert shown.cost is not None
    assert shown.cost.cpu_seconds == 5400
    text = board_page.render(shown)
    assert "30 min of processors" in text
    assert "in the last 30 days took 90 min of processors" in text
    assert shown.plain()["cost_of_30_days"]["cpu_seconds"] == 5400
    later = load_board(lab.clone, lab.state(), "origin", datetime.now(UTC) + timedelta(days=31))
    assert later.cost is None


def test_what_waits_and_why_is_what_a_promotion_meets(lab: Lab) -> None:
    staging, prod = (places(lab)[name].waiting for name in ("staging", "prod"))
    assert staging is not None
    assert (staging.release, staging.reasons, staging.proposal) == (lab.tip, (), None)
    assert prod is not None
    with pytest.raises(RuleError) as refused:
        promote(lab.clone, lab.state(), "prod", "origin")
    assert prod.reasons == refused.value.findings
    assert "prod is held" in str(prod.reasons[0])
    assert prod.proposal is not None
    assert prod.proposal.author == "Grace <ada@example.org>"
    lab.verify("dev", lab.tip, "rejected")
    after = places(lab)
    assert after["dev"].verdict == "rejected"
    assert after["staging"].waiting is not None
    assert ["dev rejected" in str(reason) for reason in after["staging"].waiting.reasons] == [True]


def test_a_release_file_that_is_not_valid_and_a_tag_that_is_no_verdict_are_named(lab: Lab) -> None:
    lab.declare("staging", "commit: nonsense\n")
    lab.origin.git("tag", "verified/prod/x", "refs/heads/main")
    found = board(lab)
    staging = next(place for place in found.places if place.name == "staging")
    assert "not a full commit id" in staging.problem
    assert staging.release is not None
    assert any(problem.startswith("verified/prod/x: ignored") for problem in found.problems)


def test_the_differences_of_any_two(lab: Lab) -> None:
    differences = board(lab).differences or {}
    assert list(differences) == [("staging", "dev"), ("prod", "dev"), ("prod", "staging")]
    assert "train.learning_rate: 0.1 -> none" in differences["staging", "dev"]
    assert differences["prod", "dev"] == "One of them has no release yet."
    lab.release("staging")
    assert (board(lab).differences or {})["staging", "dev"] == "The same release."


class Reader(HTMLParser):
    """Collects the elements, the links and the ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "srcset", "data", "action"):
                self.targets.append(value or "")


def test_the_page_has_no_script_and_asks_nobody(lab: Lab) -> None:
    text = board_page.render(board(lab))
    reader = Reader(text)
    assert not reader.names & {"script", "link", "iframe", "object", "embed", "img", "form"}
    assert not {name for name in reader.attributes if name.startswith("on") or name == "style"}
    assert len(reader.ids) == len(set(reader.ids))
    assert reader.targets
    assert {target.removeprefix("#") for target in reader.targets} <= set(reader.ids)
    assert all(target.startswith("#") for target in reader.targets)
    assert "url(" not in page.style()
    assert "@import" not in page.style()
    between = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(between.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.policy()
    assert "ada@example.org" not in text


def test_the_page_has_no_address_of_those_who_approved(lab: Lab) -> None:
    found = board(lab)
    given = Given("staging", lab.tip, found.at, frozenset({"ada.x@example.org"}), "approved/staging/x/ada")
    reason = Finding("x", "1 of 2 approvals (ada.x@example.org)", rule="approvals")
    waiting = Waiting(lab.tip, "", (reason,), None, (given,))
    places = tuple(replace(place, approvals=(given,), waiting=waiting) for place in found.places)
    text = board_page.render(replace(found, places=places, problems=("by <ada.x@example.org>",)))
    assert "@example.org" not in text
    assert text.count("by ada.x ") == 2 * len(places)
    assert "1 of 2 approvals (ada.x)" in text


@pytest.fixture
def run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(lab.clone.path)
    return lambda *args: CliRunner().invoke(app, ["board", *args])


def test_the_command(lab: Lab, run: Callable[..., Result], tmp_path: Path) -> None:
    shown = run()
    assert shown.exit_code == 0
    assert f"waits: {lab.tip[:12]}" in shown.stdout
    assert "no rule forbids it" in shown.stdout
    found = json.loads(run("--json").stdout)
    assert [row["environment"] for row in found["environments"]] == ["dev", "staging", "prod"]
    assert found["environments"][2]["holds"][0]["until"] == "2099-01-02"
    file = tmp_path / "board.html"
    assert run("--html", str(file)).exit_code == 0
    assert file.read_text().startswith("<!doctype html>")
    missing = run("--html", str(tmp_path / "no/board.html"))
    assert missing.exit_code == 1
    assert "No such file" in missing.stderr
    assert run("--html", str(file), "--json").exit_code == 2


@pytest.mark.system("chromium", "chromedriver")
def test_a_phone_shows_it_without_scrolling_sideways(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "board.html"
    file.write_text(board_page.render(board(lab)))
    driver = browser.chrome(tmp_path / "profile")
    try:
        driver.set_window_size(500, 900)
        driver.get(f"file://{file}")
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        section = driver.find_element(By.ID, "staging..dev")
        assert not section.is_displayed()
        driver.find_element(By.CSS_SELECTOR, 'a[href="#staging..dev"]').click()
        assert section.is_displayed()
    finally:
        driver.quit()
