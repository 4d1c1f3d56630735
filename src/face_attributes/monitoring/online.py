"""Answer the online service: photographs come in by one pipe, the answers of the model leave by another.

The service starts this command in the checkout of the release that it serves, so each release answers with
its own code. A message is eight bytes with the length of a JSON document, and the document. A request names
its items, and the bytes of the items follow:

    {"items": [{"kind": "photograph", "id": "...", "bytes": 20431, "sampled": true}, ...]}

`pixels` are those of an aligned face, uint8 RGB (218, 178, 3). The first message describes the model. Then
each request gets one message, with an answer for each item:

    {"answers": [{"faces": [{"box": [...], "score": 0.99, "probabilities": [...]}]}, {"error": "..."}]}

Sampled faces are written to files of scores like those of batches, under `date=<day>`. The photographs of
such a file are kept in the folder of its name under `keep`, if there is one.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from joblib import cpu_count

from face_attributes.common.celeba_attributes import HEIGHT, WIDTH
from face_attributes.common.errors import DataError, ImageError
from face_attributes.common.files import replacing
from face_attributes.data.alignment import AlignedFace, faces_of
from face_attributes.data.parallel import BATCH
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring.batch_summary import Summary
from face_attributes.monitoring.score import PARQUET, Scorer, metadata

FORMAT = 1
_LENGTH = 8  # bytes
_ROWS, _SECONDS = 1000, 60.0  # after which sampled rows are written

Item = tuple[dict[str, Any], bytes]


def answer_all(
    model: Path, release: str, scores: Path, keep: Path | None, requests: BinaryIO, answers: BinaryIO
) -> None:
    """Answer requests until they end, and write the rows that were sampled.

    Args:
        model: ONNX file.
        release: The commit that the model belongs to.
        scores: The folder of the files of scores.
        keep: The folder for sampled photographs; without it none is kept.
        requests: Where messages come from.
        answers: Where messages go.

    Raises:
        DataError: A message breaks off.
        ModelError: The file is not a model.

    """
    loaded = Model(model)
    samples = Samples(Scorer(scores, loaded, release, "auto"), scores, keep)
    _send(
        answers,
        {
            "format": FORMAT,
            "model_sha256": loaded.sha256,
            "attributes": list(loaded.attributes),
            "thresholds": loaded.thresholds.tolist(),
        },
    )
    with ThreadPoolExecutor(cpu_count()) as pool:
        while (items := _receive(requests)) is not None:
            found = list(pool.map(_faces, items))
            _send(answers, {"answers": _answers(loaded, found)})
            samples.add(items, found)
    samples.write()


def standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes of the service. From here on, anything that is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin.buffer, answers


def _receive(requests: BinaryIO) -> list[Item] | None:
    length = requests.read(_LENGTH)
    if not length:
        return None
    described = json.loads(_exactly(requests, int.from_bytes(length)))["items"]
    return [(item, _exactly(requests, item["bytes"])) for item in described]


def _exactly(stream: BinaryIO, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise DataError("the service ended in the middle of a message")
    return content


def _send(stream: BinaryIO, document: dict[str, Any]) -> None:
    content = json.dumps(document, allow_nan=False).encode()
    stream.write(len(content).to_bytes(_LENGTH) + content)
    stream.flush()


def _faces(item: Item) -> list[AlignedFace] | ImageError:
    described, content = item
    try:
        if described["kind"] == "photograph":
            return faces_of(content, "auto")
        return [AlignedFace(np.frombuffer(content, np.uint8).reshape(HEIGHT, WIDTH, 3))]
    except ImageError as error:
        return error


def _answers(model: Model, found: list[list[AlignedFace] | ImageError]) -> list[dict[str, Any]]:
    pixels = [face.pixels for faces in found if not isinstance(faces, ImageError) for face in faces]
    batches = [np.stack(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
    probabilities = (row for batch in batches for row in model.predict(batch))
    return [
        {"error": str(faces)}
        if isinstance(faces, ImageError)
        else {
            "faces": [
                {
                    "box": face.found and list(face.found.box),
                    "score": face.found and face.found.score,
                    "probabilities": next(probabilities).tolist(),
                }
                for face in faces
            ]
        }
        for faces in found
    ]


class Samples:
    """Collects sampled faces, and writes them as files of scores, some at a time."""

    def __init__(self, scorer: Scorer, scores: Path, keep: Path | None) -> None:
        self._scorer = scorer
        self._scores = scores
        self._keep = keep
        self._rows: list[pa.RecordBatch] = []
        self._name = ""
        self._since = 0.0

    def add(self, items: list[Item], found: list[list[AlignedFace] | ImageError]) -> None:
        """Add the faces of the sampled items. A photograph that was refused has none."""
        for (item, content), faces in zip(items, found, strict=True):
            if item["sampled"] and not isinstance(faces, ImageError):
                self._add(item["id"], content if item["kind"] == "photograph" else None, faces)
        if self._rows and (len(self._rows) >= _ROWS or monotonic() - self._since > _SECONDS):
            self.write()

    def _add(self, name: str, content: bytes | None, faces: list[AlignedFace]) -> None:
        if not self._rows:
            self._since = monotonic()
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
            self._name = f"online-{self._scorer.release[:12] if self._scorer.release else ''}-{moment}"
        self._rows.append(self._scorer.rows(self._scorer.numbered(name, faces)))
        if self._keep is not None and content is not None:
            with replacing(self._keep / self._name / name) as partial:
                partial.write_bytes(content)

    def write(self) -> None:
        """Write the collected rows to a file of scores, and its summary. Without rows, write nothing."""
        if not self._rows:
            return
        scorer, summary = self._scorer, Summary(self._scorer.model.attributes)
        path = self._scores / f"date={datetime.now(UTC).date().isoformat()}" / f"{self._name}.parquet"
        with replacing(path) as partial:
            with pq.ParquetWriter(partial, scorer.schema, **PARQUET) as writer:
                for rows in self._rows:
                    summary.add(rows)
                writer.write_table(pa.Table.from_batches(self._rows).combine_chunks())
                writer.add_key_value_metadata(metadata(scorer, {}))
            summary.write(path.with_suffix(".json"), path, scorer.model.sha256, scorer.release, {})
        self._rows.clear()
