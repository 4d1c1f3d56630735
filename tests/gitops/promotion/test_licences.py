"""A model of data that a use does not allow: refused at the gate, at a rollback, and when served."""

from pathlib import Path

import pytest

from gitops.errors import RuleError
from gitops.release import licences, settings
from tests.support.bundles import Make, version
from tests.support.lab import ROOT, Lab

PHOTOGRAPHS = b"profile: full\ndata:\n  source: celeba\n"
DRAWN = b"profile: full\ndata:\n  source: synthetic\n"


@pytest.fixture
def commercial(lab: Lab) -> Lab:
    """A lab whose staging is for commercial use."""
    path = settings.path_of("staging")
    content = lab.origin.read(lab.tip, path) or b""
    changed = content.replace(b"USE=research", b"USE=commercial")
    assert changed != content
    lab.land({path: changed, licences.PATH: (ROOT / licences.PATH).read_bytes(), "params.yaml": DRAWN})
    return lab


def test_a_model_of_photographs_is_not_promoted_to_commercial_use(commercial: Lab) -> None:
    commercial.land({"params.yaml": PHOTOGRAPHS})
    commercial.train("a")
    with pytest.raises(RuleError) as caught:
        commercial.promote("staging")
    text = str(caught.value)
    assert "licences of the data: source celeba: CelebA agreement, non-commercial research only" in text
    assert "data that allow USE=commercial is asked for" in text


def test_a_model_of_drawn_faces_is_promoted_and_one_of_an_appended_batch_is_not(commercial: Lab) -> None:
    commercial.train("a")
    commercial.merge(commercial.promote("staging").branch)
    commercial.land({"data/labelled/monday.parquet.dvc": b"outs: []\n"})
    commercial.train("b", 0.91)
    with pytest.raises(RuleError, match="licences of the data: batch monday: not stated"):
        commercial.promote("staging")


def test_the_bundle_serves_no_model_of_such_data(commercial: Lab, make: Make, lines: list[str]) -> None:
    first = commercial.train("a")
    commercial.declare("staging", f"commit: {first}\n")
    bundle = make()
    assert version(bundle) == first
    commercial.land({"params.yaml": PHOTOGRAPHS})
    commercial.declare("staging", f"commit: {commercial.train('b')}\n")
    bundle.refresh()
    assert version(bundle) == first
    assert bundle.serving.refused
    assert "USE=commercial" in bundle.serving.refused
    assert "source celeba: CelebA agreement" in bundle.serving.refused


def test_the_variable_of_the_process_counts_too(
    lab: Lab, make: Make, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setenv("USE", "commercial")
    lab.land({"params.yaml": PHOTOGRAPHS})
    lab.declare("staging", f"commit: {lab.train('a')}\n")
    bundle = make()
    assert bundle.serving.commit is None
    assert "no licence in data/licences.yaml" in (bundle.serving.refused or "")


def test_nobody_goes_back_to_such_a_model(commercial: Lab) -> None:
    commercial.land({"params.yaml": PHOTOGRAPHS})
    first = commercial.train("a")
    commercial.declare("staging", f"commit: {first}\n")
    commercial.land({"params.yaml": DRAWN})
    second = commercial.train("b", 0.91)
    commercial.declare("staging", f"commit: {second}\n")
    from gitops.promotion.rollbacks import rollback

    state = commercial.state()
    with pytest.raises(RuleError, match="USE=commercial"):
        rollback(commercial.clone, state, "staging", commercial.remote, to=first)


def test_damaged_licences_are_not_merged(lab: Lab) -> None:
    lab.branch("damaged", {licences.PATH: b"sources: 3\n"})
    with pytest.raises(RuleError, match=r"data/licences\.yaml: sources: Input should be a valid dict"):
        lab.merge("damaged")


def test_the_licences_of_this_repository_cover_its_sources() -> None:
    known = licences.Licences.read(Path(ROOT / licences.PATH).read_bytes())
    assert set(known.sources) == {"synthetic", "celeba"}
    assert licences.OTHER in known.batches
