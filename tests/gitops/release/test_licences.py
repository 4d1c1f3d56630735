"""`data/licences.yaml`: read, and held against a use."""

import pytest

from gitops.errors import LicencesError
from gitops.release import licences
from gitops.release.licences import Licences
from tests.support.lab import ROOT

OURS = (ROOT / licences.PATH).read_bytes()


@pytest.mark.parametrize(
    ("source", "batches", "use", "forbidden"),
    [
        ("synthetic", (), "commercial", []),
        ("celeba", (), "research", []),
        ("celeba", (), "commercial", ["source celeba: CelebA agreement, non-commercial research only"]),
        ("synthetic", ("monday",), "research", []),
        ("synthetic", ("monday",), "commercial", ["batch monday: not stated"]),
        ("other", (), "research", []),
        ("other", (), "commercial", ["source other: no licence in data/licences.yaml"]),
    ],
)
def test_a_use_forbids_data_whose_licence_does_not_allow_it(
    source: str, batches: tuple[str, ...], use: licences.Use, forbidden: list[str]
) -> None:
    assert Licences.read(OURS).forbidden(source, batches, use) == forbidden


def test_a_batch_with_its_own_terms() -> None:
    own = OURS + b"  monday: {name: Monday, licence: CC0-1.0, uses: [commercial], photographs: true}\n"
    assert Licences.read(own).forbidden("synthetic", ["monday"], "commercial") == []
    assert Licences.read(own).forbidden("synthetic", ["monday"], "research") == ["batch monday: CC0-1.0"]


def test_without_the_file_only_research_is_allowed() -> None:
    assert Licences.read(None).forbidden("synthetic", (), "research") == []
    assert Licences.read(None).forbidden("synthetic", (), "commercial")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"sources: [", "data/licences.yaml:2: "),
        (b"[]", "not a mapping of keys to values"),
        (b"sources: {celeba: {name: x}}", "sources.celeba.licence: Field required"),
        (b"sources: {a: {name: x, licence: y, uses: [fun], photographs: true}}", "uses.0: Input should be"),
        (
            b"sources: {a: {name: x, licence: y, uses: [], photographs: no}}",
            "photographs: Value error, write true or false",
        ),
        (b"more: {}", "more: Extra inputs are not permitted"),
    ],
)
def test_a_damaged_file_is_named(content: bytes, says: str) -> None:
    with pytest.raises(LicencesError) as caught:
        Licences.read(content)
    assert says in str(caught.value)
    assert "see docs/data.md" in str(caught.value)


def test_batches_are_the_pointers_in_their_folder() -> None:
    files = ["data/labelled/b.parquet.dvc", "data/labelled/a.parquet.dvc", "data/labelled/README.md", "x.dvc"]
    assert licences.batches(files) == ("a", "b")
