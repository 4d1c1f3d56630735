"""Why a DAG cannot be made, as one line: what, where, and what to do about it."""


class ScaffoldError(Exception):
    """Nothing was made; its text is the one line that the user reads."""
