"""Errors of the engine. Each message is one line: the problem, its place and the remedy."""


class EngineError(Exception):
    """The engine cannot continue. The user reads the message.

    Args:
        message: The problem, its place and the remedy.
        command: The next command, which can be pasted; "" for the one that was typed, or its help.

    """

    def __init__(self, message: str, *, command: str = "") -> None:
        super().__init__(message)
        self.next_command = command


class BusyError(EngineError):
    """Another command of the engine is using the same state."""
