"""The contract that a release needs of the runtime, which `dags/runtime.yaml` of its commit states."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gitops.errors import ParseError, ReleaseError
from gitops.text import parse

PATH = "dags/runtime.yaml"
_REMEDY = "write `contract: <number>`, the CONTRACT of gitops.tasks that the DAGs need"


class Runtime(BaseModel):
    """Contents of `dags/runtime.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(ge=0, lt=10_000, description="The CONTRACT of gitops.tasks that the DAGs need.")


def needed(content: bytes | None) -> int:
    """Return the contract that a release needs.

    Args:
        content: Its `dags/runtime.yaml`; None for one that was made before there was a contract, which
            needs 0.

    Raises:
        ReleaseError: when the file does not state one.

    """
    if content is None:
        return 0
    try:
        return Runtime.model_validate(parse.yaml_value(content, parse.RELEASE)).contract
    except ParseError as error:
        raise ReleaseError(error.place(PATH), str(error), _REMEDY, rule="runtime-contract") from error
    except ValidationError as error:
        raise ReleaseError(PATH, "not a contract", _REMEDY, rule="runtime-contract") from error
