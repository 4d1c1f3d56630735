"""The contract that a release needs of the runtime, which `dags/runtime.yaml` of its commit states."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gitops import runtime
from gitops.errors import ParseError, ReleaseError
from gitops.git.repository import Repository
from gitops.text import parse

PATH = "dags/runtime.yaml"
_REMEDY = "write `contract: <number>`, the CONTRACT of gitops.tasks that the DAGs need"


class Runtime(BaseModel):
    """Contents of `dags/runtime.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(ge=0, lt=10_000, description="The CONTRACT of gitops.tasks that the DAGs need.")


def needed(repository: Repository, commit: str) -> int:
    """Return the contract that a commit needs; 0 for one that was made before there was a contract.

    Raises:
        ReleaseError: when the file does not state one.

    """
    content = repository.read(commit, PATH)
    if content is None:
        return 0
    try:
        return Runtime.model_validate(parse.yaml_value(content, parse.RELEASE)).contract
    except ParseError as error:
        raise ReleaseError(error.place(PATH), str(error), _REMEDY) from error
    except ValidationError as error:
        raise ReleaseError(PATH, "not a contract", _REMEDY) from error


def objection(repository: Repository, commit: str, *, offered: int = runtime.CONTRACT) -> str | None:
    """Return the reason why a runtime cannot serve a commit, or None if it can.

    Args:
        repository: A repository that has the commit.
        commit: The commit.
        offered: The contract of the runtime.

    """
    try:
        number = needed(repository, commit)
    except ReleaseError as error:
        return str(error)
    if number > offered:
        return f"{commit[:12]}: needs runtime contract {number}, this one is {offered}"
    return None
