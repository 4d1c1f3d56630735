"""Errors of the engine. Each message is one line: the problem, its place and the remedy."""


class EngineError(Exception):
    """The engine cannot continue. The user reads the message."""


class BusyError(EngineError):
    """Another command of the engine is using the same state."""
