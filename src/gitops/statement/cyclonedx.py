"""A bill of materials of a model (ML-BOM), as CycloneDX 1.6 describes it: https://cyclonedx.org/docs/1.6/json/."""

import uuid
from collections.abc import Iterator
from typing import Any

from gitops.paths import MODEL
from gitops.release.licences import Terms
from gitops.statement.materials import Materials

_MOST_GAPS = 20
_NAMESPACE = uuid.UUID("b0b4ad2c-7e0f-4c6e-9d5f-5a52a2f5a4c1")
"""A random constant: the serial number of a bill follows from the model and the commit."""


def bill(materials: Materials) -> dict[str, Any]:
    """Return the bill of materials; equal materials, equal bill."""
    model, data = f"model-{materials.model_sha256}", list(_data(materials))
    libraries = list(_libraries(materials))
    references = [component["bom-ref"] for component in (*data, *libraries)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, materials.model_sha256 + materials.commit)}",
        "version": 1,
        "metadata": {
            "timestamp": f"{materials.at:%Y-%m-%dT%H:%M:%SZ}",
            "component": {
                "type": "machine-learning-model",
                "bom-ref": model,
                "name": MODEL,
                "version": materials.commit,
                "description": "A model of face attributes, as one ONNX file.",
                "hashes": [{"alg": "SHA-256", "content": materials.model_sha256}],
                "pedigree": {"commits": [{"uid": materials.commit}]},
                "modelCard": _card(materials, [component["bom-ref"] for component in data]),
                "properties": list(_properties(materials)),
            },
        },
        "components": [*data, *libraries],
        "dependencies": [{"ref": model, "dependsOn": references}],
    }


def _properties(materials: Materials) -> Iterator[dict[str, str]]:
    yield {"name": "visage:contract", "value": str(materials.contract)}
    if materials.python:
        yield {"name": "visage:python", "value": materials.python}
    if materials.dependencies_sha256:
        yield {"name": "visage:requirements.lock:sha256", "value": materials.dependencies_sha256}
    for name, value in materials.parameters.items():
        yield {"name": f"visage:parameter:{name}", "value": value}


def _data(materials: Materials) -> Iterator[dict[str, Any]]:
    terms = list(materials.licences.terms(materials.source, materials.batches))
    for name, known in terms:
        yield {
            "type": "data",
            "bom-ref": f"data-{name.replace(' ', '-')}",
            "name": name,
            "data": [{"type": "dataset", "name": known.name if known else name}],
            **({"licenses": [_licence(known)]} if known else {}),
        }
    for item in materials.recorded:
        if item.path == MODEL:
            continue
        kind = (
            "source-code" if item.path.startswith("src/") else "dataset" if "data/" in item.path else "other"
        )
        yield {
            "type": "data",
            "bom-ref": f"file-{item.path}",
            "name": item.path,
            "hashes": [{"alg": "MD5", "content": item.md5}],
            "data": [{"type": kind, "name": item.path}],
        }


def _licence(terms: Terms) -> dict[str, Any]:
    return {"license": {"name": terms.licence}}


def _libraries(materials: Materials) -> Iterator[dict[str, Any]]:
    for name, version in materials.packages.items():
        address = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
        yield {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}


def _card(materials: Materials, datasets: list[str]) -> dict[str, Any]:
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "classification of face attributes",
            "architectureFamily": "convolutional neural network",
            "datasets": [{"ref": reference} for reference in datasets if not reference.startswith("file-")],
            "inputs": [{"format": "RGB image, 178 x 218 pixels, uint8"}],
            "outputs": [{"format": "a probability for each attribute"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(materials))},
        "considerations": {
            "useCases": ["research on face attributes and on the operation of models"],
            "technicalLimitations": [
                "decisions about people, recognition of persons and surveillance are excluded",
                f"evaluated on {materials.evaluation.samples} images of the source {materials.source} alone",
            ],
            "fairnessAssessments": [
                {
                    "groupAtRisk": gap.group,
                    "harms": f"{gap.attribute}: found in {gap.tpr:.4f}, in all others in {gap.others:.4f}",
                }
                for gap in (materials.groups.served_worst[:_MOST_GAPS] if materials.groups else ())
            ],
        },
    }


def _metrics(materials: Materials) -> Iterator[dict[str, Any]]:
    figures = materials.evaluation
    yield _metric(
        "accuracy", None, figures.mean_accuracy, figures.mean_accuracy_low, figures.mean_accuracy_high
    )
    for kind, rows in (("attribute", figures.per_attribute), ("group", figures.slices)):
        for name, row in rows.items():
            if row.accuracy is not None:
                yield _metric("accuracy", f"{kind} {name}", row.accuracy, row.accuracy_low, row.accuracy_high)


def _metric(
    kind: str, part: str | None, value: float, low: float | None, high: float | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"type": kind, "value": f"{value:.4f}"}
    if part:
        found["slice"] = part
    if low is not None and high is not None:
        found["confidenceInterval"] = {"lowerBound": f"{low:.4f}", "upperBound": f"{high:.4f}"}
    return found
