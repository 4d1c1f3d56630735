"""Reports on a shadow, as tags that anybody may have made."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitops.errors import VerdictError
from gitops.gates.shadows import Shadowed
from gitops.git.objects import Tag
from gitops.git.repository import Repository
from tests.support.figures import ATTRIBUTES

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def part() -> dict[str, Any]:
    rare = {"count": 1234, "others": 5166, "found": 1000, "false": 345, "lost": 40, "gained": 30}
    rare |= {"incumbent_found": 1010, "incumbent_false": 340}
    return {
        "accuracy": 0.912345,
        "incumbent": 0.923456,
        "difference": -0.011111,
        "low": -0.023456,
        "high": 0.012345,
        "p_worse": 0.123456,
        "p_worse_holm": 1.0,
        "rare": rare,
    }


def content(commit: str) -> dict[str, Any]:
    """A report with as many figures as CelebA's forty attributes bring."""
    names = [*ATTRIBUTES, *(f"Another_{number}" for number in range(40 - len(ATTRIBUTES)))]
    share = {"agreement": 0.9876, "yes": 0.1234, "incumbent_yes": 0.1234, "distance": 0.0123}
    mean = {key: value for key, value in part().items() if key not in ("p_worse_holm", "rare")}
    times = {"p50_ms": 12.345, "incumbent_p50_ms": 12.345, "ratio": 1.234}
    paired = {"samples": 6400, "mean_accuracy": mean, "per_attribute": {name: part() for name in names}}
    return {
        "format": 1,
        "environment": "staging",
        "release": commit,
        "incumbent": "b" * 40,
        "model_sha256": "c" * 64,
        "incumbent_sha256": "d" * 64,
        "at": AT.isoformat(),
        "failed": 3,
        "reason": "x" * 300,
        "figures": {
            "format": 1,
            "images": 123_456,
            "batches": 333,
            "agreement": 0.9876,
            "labelled": 7000,
            "per_attribute": dict.fromkeys(names, share),
            "only_incumbent": [],
            "latency": {f"batch_{count}": times for count in (1, 8, 64)},
            "comparison": paired,
        },
    }


@pytest.fixture
def tagged(tmp_path: Path) -> Callable[..., Tag]:
    """Return the tag with a report that `change` changed."""
    repository = Repository(tmp_path)
    repository.git("init", "--quiet", ".")
    commit = repository.commit_files(None, {"README.md": b"Visage\n"}, "Start")

    def tag(change: Callable[[dict[str, Any]], None] = lambda _: None, *, at: datetime = AT) -> Tag:
        changed = content(commit)
        name = f"shadowed/staging/{commit[:12]}"
        change(changed)
        made = repository.tag(commit, name, f"shadow\n\n{json.dumps(changed)}", at=at)
        repository.git("update-ref", f"refs/tags/{name}", made)
        (found,) = repository.tags("shadowed")
        return found

    return tag


def test_a_report_about_forty_attributes_with_late_labels_fits(tagged: Callable[..., Tag]) -> None:
    report = Shadowed.read(tagged())
    assert report.figures is not None
    assert len(report.figures.per_attribute) == 40
    assert (
        Shadowed.read(tagged(lambda made: made.update(json.loads(report.message.split("\n\n")[1])))) == report
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: made.update(environment="prod"), "its message is that of shadowed/prod/"),
        (lambda made: made.update(release="e" * 40), "its message is that of shadowed/staging/eeee"),
        (lambda made: made.update(failed=-1), "failed"),
        (lambda made: made.update(reason="x" * 301), "reason"),
        (lambda made: made["figures"].update(agreement=float("nan")), "agreement"),
        (lambda made: made["figures"]["comparison"].update(samples=0), "samples"),
        (lambda made: made.update(padding="x" * 40_000), "larger than 48,000 bytes"),
        (lambda made: made.update(padding="x" * 70_000), "bytes long"),
    ],
)
def test_a_tag_that_is_no_report_is_ignored(
    tagged: Callable[..., Tag], change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    with pytest.raises(VerdictError, match=reason):
        Shadowed.read(tagged(change))


def test_the_time_of_a_report_is_that_of_its_tag(tagged: Callable[..., Tag]) -> None:
    with pytest.raises(VerdictError, match="another time than its date"):
        Shadowed.read(tagged(at=datetime(2026, 1, 6, tzinfo=UTC)))
