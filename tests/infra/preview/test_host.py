"""The program that an engine is worked with: each failure is one line with the next command."""

import pytest

from infra.local.errors import EngineError
from infra.preview.host import Tool


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["no-such-program-here"], "sh: not on PATH; install it"),
        (["sh", "-c", "sleep 60"], "sh: no end after 0.2 s"),
        (["sh", "-c", "echo first >&2; echo last >&2; echo >&2; exit 3"], "sh: last"),
        (["sh", "-c", "exit 3"], "sh: no output"),
    ],
)
def test_a_failure_is_one_line(command: list[str], message: str) -> None:
    with pytest.raises(EngineError) as raised:
        Tool("sh", "install it", "sh --version", seconds=0.2).run(command)
    assert str(raised.value) == message


def test_the_output_is_returned() -> None:
    assert Tool("sh", "install it", "sh --version").run(["cat"], given="text") == "text"
