"""The form of a failure: your action, the reason why it fails, and the next command.

Cannot score the photographs: faces: no such folder
Next: .venv/bin/python -m face_attributes score --help
"""

from collections.abc import Sequence

from face_attributes.common.files import printable

PROGRAM = ".venv/bin/python -m face_attributes"
ACTIONS = {
    "": "run face_attributes",
    "collect": "collect the photographs",
    "prepare": "prepare the data",
    "tune": "search for hyperparameters",
    "trial": "run the trial",
    "train": "train the model",
    "export": "export the model",
    "evaluate": "evaluate the model",
    "card": "write the model card",
    "reference": "write the reference",
    "score": "score the photographs",
    "join": "join the scores",
    "search": "search the scores",
    "people": "look for a person",
    "online": "answer the service",
    "compare": "compare the models",
    "append": "append the photographs",
    "gather": "gather labelled photographs",
    "drift": "check for drift",
    "performance": "measure the accuracy",
    "shadow": "compare the shadow",
    "draw": "draw faces",
    "gallery": "draw the contact sheet",
    "profile": "apply the profile",
    "schema": "print the schema",
}
"""The action of each command, in the words of the person who types it."""


def failure(typed: Sequence[str], reason: object, following: str = "") -> str:
    """Return the lines of a failure.

    Args:
        typed: The words after the program.
        reason: The reason why it fails, and where.
        following: The next command; by default the help of the command.

    """
    name = next((word for word in typed if word in ACTIONS), "")
    help_page = " ".join([PROGRAM, *([name] if name else []), "--help"])
    line = printable(" ".join(str(reason).splitlines()))
    return f"Cannot {ACTIONS[name]}: {line}\nNext: {following or help_page}"
