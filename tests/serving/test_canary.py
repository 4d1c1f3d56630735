"""A canary of the online service: real HTTP, two real workers, two real models."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests

from gitops.gates import canaries
from gitops.gates.shadows import Figures
from gitops.release import canaries as shares
from gitops.release import settings
from gitops.text import record
from gitops.training import shadowing
from serving.canary import Share
from tests.serving.conftest import BROKEN, ONE, ROOT, TWO, Running, plain, png, running
from tests.serving.test_service import infer
from tests.support.waiting import wait_for

NUMBER = 40


def photographs() -> list[bytes]:
    return [png(plain(red, 10)) for red in range(NUMBER)]


def picked(content: bytes, commit: str, share: int) -> bool:
    return shares.picks(hashlib.sha256(content).hexdigest(), commit, share)


def start(service: Running, commit: str, percent: int) -> None:
    """Declare a release and a canary, and wait until both answer."""
    service.serve(ONE)
    wait_for(lambda: service.answers(ONE), seconds=120)
    service.shares.append(Share(commit, percent))
    wait_for(lambda: about(service) is not None, seconds=120)


def about(service: Running) -> dict[str, object] | None:
    return requests.get(f"{service.url}/release", timeout=10).json()["canary"]


def answered_by(service: Running, *contents: bytes) -> list[str]:
    found: list[str] = []
    for first in range(0, len(contents), 8):
        done = service.predict(*contents[first : first + 8])
        assert done.status_code == 200, done.text
        found += [photograph["release"] for photograph in done.json()["photographs"]]
    return found


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]):
    """A service with a canary of 50%, all of whose answers are sampled."""
    with running(tmp_path_factory.mktemp("canary") / "home", models, sample=1.0) as service:
        start(service, TWO, 50)
        wait_for(lambda: service.service.canary.worker is not None, seconds=120)
        yield service


def test_the_hash_of_a_photograph_decides_and_both_are_counted(tried: Running) -> None:
    contents = photographs()
    wanted = [TWO if picked(content, TWO, 50) else ONE for content in contents]
    before = about(tried)
    assert before is not None
    assert 10 < wanted.count(TWO) < 30
    assert answered_by(tried, *contents) == wanted
    assert answered_by(tried, *reversed(contents)) == wanted[::-1], "the same photograph, the same model"
    found = about(tried)
    assert found is not None
    assert (found["release"], found["share"], found["failed"], found["problem"]) == (TWO, 50, 0, None)
    assert int(str(found["answered"])) - int(str(before["answered"])) == 2 * wanted.count(TWO)
    assert int(str(found["by_release"])) - int(str(before["by_release"])) == 2 * wanted.count(ONE)


@pytest.mark.long
def test_a_tensor_is_of_one_model(tried: Running) -> None:
    tensors = [np.stack([plain(number), plain(number, 20)]) for number in range(12)]
    found = [infer(tried, pixels, binary=False).json()["model_version"] for pixels in tensors]
    assert found == [TWO if picked(pixels.tobytes(), TWO, 50) else ONE for pixels in tensors]


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_same_functions_as_for_batches_compare_both_and_sum_up_pods(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    home, by = tmp_path / "home", list[str]()
    with running(home, models, sample=1.0) as one, running(home, models, sample=1.0) as other:
        for service, part in ((one, photographs()[:30]), (other, photographs()[30:])):
            start(service, TWO, 50)
            wait_for(lambda canary=service.service.canary: canary.worker is not None, seconds=120)
            own = answered_by(service, *part)
            found = about(service)
            assert found is not None
            # Whoever asks sees the figures of the pod that answers.
            assert (found["answered"], found["by_release"]) == (own.count(TWO), own.count(ONE))
            assert str(found["counted_by"]).endswith(f" {os.getpid()}")
            by += own
    # As score_shadow does: the model that did not answer scores the photographs that were kept.
    beside = home / "shadows" / TWO[:12]
    for scores in (home / "scores").glob("date=*/*.parquet"):
        other = TWO if f"online-{ONE[:12]}" in scores.name else ONE
        out = beside / scores.parent.name / scores.name
        out.parent.mkdir(parents=True, exist_ok=True)
        options = ["--model", str(models[other]), "--release", other, "--out", str(out)]
        call("score", str(home / "scored" / scores.stem), *options)
    report = tmp_path / "report.json"
    models_of = ["--model", str(models[TWO]), "--incumbent", str(models[ONE])]
    since = ["--since", "2026-01-01T00:00:00+00:00"]
    call("shadow", str(home / "scores"), "--shadow", str(beside), *models_of, *since, "--out", str(report))
    figures = record.read_file(Figures, report)
    assert (figures.images, figures.answered, figures.agreement) == (NUMBER, by.count(TWO), 1.0)
    digests = ("1" * 64, "2" * 64)
    plain_figures = figures.model_dump(mode="json")
    found = shadowing.report("dev", (TWO, ONE), digests, 0, "", plain_figures, share=50)
    results = {check.name: check.result for check in canaries.judge(found, settings.load("dev", ROOT))}
    assert results["batches that the canary cannot score"] == "passed"
    assert canaries.lacking(found, 50, settings.load("dev", ROOT)).startswith(
        f"it has answered {by.count(TWO)} of 1000 images at 50%"
    )


def call(*arguments: str) -> None:
    command = [sys.executable, "-m", "face_attributes", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)


def notes(service: Running, commit: str) -> list[str]:
    folder = service.home / "shadows" / commit[:12] / "failed"
    return [note.read_text() for note in sorted(folder.glob("*"))]


def test_without_a_canary_the_release_answers_everything_at_once(tried: Running) -> None:
    contents = [content for content in photographs() if picked(content, TWO, 50)]
    tried.shares.clear()
    wait_for(lambda: about(tried) is None, seconds=10)
    assert set(answered_by(tried, *contents)) == {ONE}


def test_a_canary_that_does_not_start_answers_nothing_and_is_noted(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    with running(tmp_path / "home", models) as service:
        start(service, BROKEN, 99)
        wait_for(lambda: bool(notes(service, BROKEN)), seconds=120)
        assert set(answered_by(service, *photographs()[:8])) == {ONE}
        found = about(service)
        assert found is not None
        assert (found["answered"], found["problem"]) == (0, "its process ended with status 1")
    assert notes(service, BROKEN) == ["online: its process ended with status 1"]


def test_a_canary_that_is_killed_costs_no_answer(tmp_path: Path, models: dict[str, Path]) -> None:
    with running(tmp_path / "home", models) as service:
        start(service, TWO, 99)
        canary = service.service.canary
        wait_for(lambda: canary.worker is not None, seconds=120)
        assert TWO in answered_by(service, *photographs())
        assert canary.worker is not None
        os.kill(canary.worker.pid, signal.SIGKILL)
        assert set(answered_by(service, *photographs())) == {ONE}
        found = about(service)
        assert found is not None
        assert int(str(found["failed"])) >= 1
        assert len(notes(service, TWO)) == 1
