"""What can go wrong with the engine, as one line each: what, where, and what to do about it."""


class EngineError(Exception):
    """The engine cannot go on; its text is the one line that the user reads."""


class BusyError(EngineError):
    """Another command of the engine is at work on the same state."""
