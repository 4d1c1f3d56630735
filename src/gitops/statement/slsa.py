"""Provenance: an in-toto statement with the predicate of SLSA, https://slsa.dev/spec/v1.0/provenance."""

from collections.abc import Iterator
from typing import Any

from gitops.paths import DEPENDENCIES, MODEL
from gitops.statement.materials import Materials, Recorded

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:visage:pipeline:v1"
"""The build: `dvc repro` in a checkout of the commit, with the packages of the dependency lock."""
BUILDER = "urn:visage:training"


def statement(materials: Materials) -> dict[str, Any]:
    """Return the statement that the model was made from these materials; equal materials, equal statement."""
    made = [item for item in materials.recorded if item.made and item.path != MODEL]
    return {
        "_type": STATEMENT,
        "subject": [{"name": MODEL, "digest": {"sha256": materials.model_sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "commit": materials.commit,
                    "parameters": dict(materials.parameters),
                },
                "internalParameters": {"contract": materials.contract, "python": materials.python},
                "resolvedDependencies": list(_dependencies(materials)),
            },
            "runDetails": {
                "builder": {"id": BUILDER},
                "metadata": {
                    "invocationId": materials.commit,
                    "finishedOn": f"{materials.at:%Y-%m-%dT%H:%M:%SZ}",
                },
                "byproducts": [_descriptor(item) for item in made],
            },
        },
    }


def _dependencies(materials: Materials) -> Iterator[dict[str, Any]]:
    yield {"name": "commit", "digest": {"gitCommit": materials.commit}}
    if materials.dependencies_sha256:
        yield {"name": DEPENDENCIES, "digest": {"sha256": materials.dependencies_sha256}}
    for item in materials.recorded:
        if not item.made:
            yield _descriptor(item)
    yield {
        "name": "runtime",
        "uri": f"urn:visage:runtime:contract-{materials.contract}",
        "annotations": {"python": materials.python, "packages": dict(materials.packages)},
    }


def _descriptor(item: Recorded) -> dict[str, Any]:
    found: dict[str, Any] = {"name": item.path, "digest": {"md5": item.md5}}
    if item.folder:
        found["annotations"] = {"digest": "of DVC's list of the folder"}
    return found
