"""The process that answers the online service, as the service talks to it."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from face_attributes.common.errors import ModelError
from face_attributes.data import detector
from face_attributes.monitoring import online
from tests.support.waiting import wait_for


class Process:
    """The process, in a thread, with real pipes."""

    def __init__(self, contents: list[bytes]) -> None:
        self._contents = contents
        (requests, self._requests), (self._answers, answers) = os.pipe(), os.pipe()
        self.streams = os.fdopen(requests, "rb"), os.fdopen(answers, "wb")
        self.requests, self.answers = os.fdopen(self._requests, "wb"), os.fdopen(self._answers, "rb")

    def ask(self, *numbers: int, within: float | None = None, sampled: bool = False) -> None:
        """Send photographs by their numbers, which are their ids too."""
        starts = [sum(map(len, self._contents[:index])) for index in range(len(self._contents))]
        items = [
            {
                "kind": "photograph",
                "id": str(n),
                "start": starts[n],
                "bytes": len(self._contents[n]),
                "sampled": sampled,
            }
            for n in numbers
        ]
        document = json.dumps({"items": items, "within": within}).encode()
        self.requests.write(len(document).to_bytes(8) + document)
        self.requests.flush()

    def receive(self) -> tuple[dict, bytes]:
        """Return an answer, and its probabilities."""
        document, numbers = (self.answers.read(int.from_bytes(self.answers.read(8))) for _ in range(2))
        return json.loads(document), numbers


@contextmanager
def running(made, scores: Path, contents: list[bytes]) -> Iterator[Process]:
    process = Process(contents)
    memory = memoryview(b"".join(contents))
    arguments = (made.model, "a" * 40, scores, None, memory, *process.streams)
    thread = threading.Thread(target=online.answer_all, args=arguments)
    thread.start()
    try:
        description = json.loads(process.answers.read(int.from_bytes(process.answers.read(8))))
        assert description["cores"] >= 1
        yield process
    finally:
        process.requests.close()
        thread.join(60)
        assert not thread.is_alive()
        for stream in (*process.streams, process.answers):
            stream.close()


@pytest.fixture
def contents(made) -> list[bytes]:
    return [path.read_bytes() for path in sorted((made.faces / "img_align_celeba").iterdir())[:3]]


@pytest.fixture
def held(contents, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The first photograph takes until the event is set, and there is one core."""
    ready, faces_of = threading.Event(), online.faces_of

    def slow(content, align):
        assert content != contents[0] or ready.wait(60)
        return faces_of(content, align)

    monkeypatch.setattr(online, "faces_of", slow)
    monkeypatch.setattr(online, "cpu_count", lambda: 1)
    yield ready
    ready.set()


def test_a_photograph_that_takes_long_is_answered_late_and_holds_up_no_other(
    made, tmp_path: Path, contents, held
) -> None:
    with running(made, tmp_path, contents) as process:
        process.ask(0, 1, within=0.05)
        found, numbers = process.receive()
        assert found == {"answers": [{"late": True}, {"again": True}]}, "the second one was not begun"
        assert numbers == b""
        process.ask(1, 2, within=30)
        found, both = process.receive()
        assert [len(answer["faces"]) for answer in found["answers"]] == [1, 1]
        held.set()
        found, one = process.receive()
        assert found["late"] == "0"
        assert len(found["answers"][0]["faces"]) == 1
        assert 2 * len(one) == len(both)


def test_no_more_than_two_for_each_core_are_late(made, tmp_path: Path, contents, held) -> None:
    with running(made, tmp_path, [contents[0]] * 3) as process:
        for number in range(2):
            process.ask(number, within=0.05)
            assert process.receive()[0] == {"answers": [{"late": True}]}
        process.ask(2, within=0.05)
        held.set()
        answers = [process.receive()[0] for _ in range(3)]
        assert {answer.get("late") for answer in answers} >= {"0", "1"}


def test_the_end_waits_for_what_is_late(made, tmp_path: Path, contents, held) -> None:
    with running(made, tmp_path, contents) as process:
        process.ask(0, within=0.05, sampled=True)
        assert process.receive()[0] == {"answers": [{"late": True}]}
        process.requests.close()
        held.set()
        assert process.receive()[0]["late"] == "0"
    assert len([*tmp_path.glob("date=*/online-aaaaaaaaaaaa-*.parquet")]) == 1


def test_a_service_of_an_earlier_runtime_gets_an_error_for_photographs_that_are_not_begun_in_time(
    made, tmp_path: Path, contents, held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "_WITHIN", 0.2)
    with running(made, tmp_path, contents) as process:
        threading.Timer(0.5, held.set).start()
        process.ask(0, 1)
        first, second = process.receive()[0]["answers"]
        assert len(first["faces"]) == 1
        assert second == {"error": "not read in time, beside other large photographs; send fewer at once"}


def test_sampled_rows_are_written_while_nobody_asks(
    made, tmp_path: Path, contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online, "_SECONDS", 0.3)
    with running(made, tmp_path, contents) as process:
        for count in (1, 2):
            process.ask(1, within=30, sampled=True)
            process.receive()
            wait_for(lambda count=count: len([*tmp_path.glob("date=*/*.parquet")]) == count, seconds=30)


def test_a_thread_that_fails_ends_the_process(capfd) -> None:
    child = os.fork()
    if not child:
        with online.ending():
            raise OSError("no space left")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert "no space left" in capfd.readouterr().err


@pytest.mark.parametrize("network", detector.SHA256)
def test_a_release_with_another_detector_does_not_start(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    """So no environment verifies it: a verification starts this process."""
    process = Process([])
    process.requests.close()
    monkeypatch.setitem(detector.SHA256, network, "0" * 64)
    detector.session.cache_clear()
    try:
        with pytest.raises(ModelError, match=rf"{network}\.onnx: is not the file of this release"):
            online.answer_all(made.model, "a" * 40, tmp_path, None, memoryview(b""), *process.streams)
    finally:
        detector.session.cache_clear()
        for stream in (*process.streams, process.answers):
            stream.close()
