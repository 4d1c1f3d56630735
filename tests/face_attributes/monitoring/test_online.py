"""The process that answers the online service, as the service talks to it."""

import io
import json
from pathlib import Path

import pytest

from face_attributes.monitoring import online


def conversation(made, tmp_path: Path, contents: list[bytes], *requests: list[int]) -> list[bytes]:
    """Send photographs, by their numbers, in requests; return the messages after the first one."""
    starts = [sum(map(len, contents[:index])) for index in range(len(contents))]
    messages = b""
    for request in requests:
        items = [
            {"kind": "photograph", "id": "x", "start": starts[n], "bytes": len(contents[n]), "sampled": False}
            for n in request
        ]
        document = json.dumps({"items": items}).encode()
        messages += len(document).to_bytes(8) + document
    answers = io.BytesIO()
    memory = memoryview(b"".join(contents))
    online.answer_all(made.model, "a" * 40, tmp_path / "scores", None, memory, io.BytesIO(messages), answers)
    answers.seek(0)
    found = []
    while length := answers.read(8):
        found.append(answers.read(int.from_bytes(length)))
    return found[1:]


def test_photographs_that_are_not_begun_in_time_have_an_error(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise many large ones would let the service kill the process, and end a canary."""
    contents = [path.read_bytes() for path in sorted((made.faces / "img_align_celeba").iterdir())[:3]]
    times = iter(range(100))
    monkeypatch.setattr(online, "monotonic", lambda: float(next(times)))
    monkeypatch.setattr(online, "cpu_count", lambda: 1)
    # The first look at the clock begins the request; after it, two photographs are in time.
    monkeypatch.setattr(online, "_WITHIN", 3.0)
    first, numbers, second, more = conversation(made, tmp_path, contents, [0, 1, 2], [2])
    answers = json.loads(first)["answers"]
    assert [len(answer.get("faces", [])) for answer in answers] == [1, 1, 0]
    assert answers[2] == {"error": "not read in time, beside other large photographs; send fewer at once"}
    assert len(numbers) == 2 * len(more)
    assert len(json.loads(second)["answers"][0]["faces"]) == 1
