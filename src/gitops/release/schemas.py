"""The JSON Schemas of the files that people edit, made of the models that read them.

`python -m gitops.release.schemas schemas` writes them; editors complete and check the files by them.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gitops.release import environments

SCHEMAS: Mapping[str, Any] = {"environment.schema.json": environments.schema()}


def text(name: str) -> str:
    """Return a schema as the content of its file."""
    return json.dumps(SCHEMAS[name], indent=2) + "\n"


if __name__ == "__main__":
    for name in SCHEMAS:
        (Path(sys.argv[1]) / name).write_text(text(name))
