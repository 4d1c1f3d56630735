"""Answer the online service: photographs come in shared memory, the answers of the model leave by a pipe.

The service starts this command in the checkout of the release that it serves, so each release answers with
its own code. A message is eight bytes with the length of a JSON document, and the document. A request names
its items, and where their bytes are in the memory:

    {"items": [{"kind": "photograph", "id": "...", "start": 0, "bytes": 20431, "sampled": true}, ...]}

`pixels` are those of an aligned face, uint8 RGB (218, 178, 3). The first message describes the model. Then
each request gets two messages, and after them the service may write to that part of the memory again. The
first one has an answer for each item, and the second one the probabilities, float32, a row for each face:

    {"answers": [{"faces": [{"box": [...], "score": 0.99, "light": "dark"}]}, {"error": "..."}]}

`light` is the third of the hold-out set, by its brightness, that a face of a photograph belongs to. If an
item has `"explained": true`, each face also has `picture`, a JPEG in base64, and `maps`: for each attribute
rows of whole numbers, how many percent the probability changes if that part of the picture is covered.

Sampled faces are written to files of scores like those of batches, under `date=<day>`. The photographs of
such a file are kept in the folder of its name under `keep`, if there is one.
"""

import base64
import json
import mmap
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial
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
from face_attributes.common.paths import EVALUATION
from face_attributes.data import image_statistics, images
from face_attributes.data.alignment import AlignedFace, faces_of
from face_attributes.data.parallel import BATCH
from face_attributes.evaluation import occlusion
from face_attributes.model.onnx_model import Model
from face_attributes.monitoring.batch_summary import Summary
from face_attributes.monitoring.score import PARQUET, Scorer, metadata

FORMAT = 1
_LENGTH = 8  # bytes
_ROWS, _SECONDS = 1000, 60.0  # after which sampled rows are written
_WITHIN = 10.0  # seconds in which the photographs of a request are begun
_LATE = "not read in time, beside other large photographs; send fewer at once"

Item = tuple[dict[str, Any], bytes | memoryview]


def answer_all(
    model: Path,
    release: str,
    scores: Path,
    keep: Path | None,
    memory: memoryview,
    requests: BinaryIO,
    answers: BinaryIO,
) -> None:
    """Answer requests until they end, and write the rows that were sampled.

    Args:
        model: ONNX file.
        release: The commit that the model belongs to.
        scores: The folder of the files of scores.
        keep: The folder for sampled photographs; without it none is kept.
        memory: Where the bytes of items are.
        requests: Where messages come from.
        answers: Where messages go.

    Raises:
        DataError: A message breaks off.
        ModelError: The file is not a model.

    """
    # By itself, ONNX Runtime takes a thread for each core of the machine, even if a container may use two
    loaded = Model(model, threads=cpu_count())
    samples = Samples(Scorer(scores, loaded, release, "auto"), scores, keep)
    description = {
        "format": FORMAT,
        "model_sha256": loaded.sha256,
        "attributes": list(loaded.attributes),
        "thresholds": loaded.thresholds.tolist(),
    }
    _send(answers, _json(description))
    with ThreadPoolExecutor(cpu_count()) as pool:
        while (items := _receive(requests, memory)) is not None:
            until = monotonic() + _WITHIN
            found = list(pool.map(partial(_faces, until=until), items))
            answered = [_described(loaded, item, faces) for item, faces in zip(items, found, strict=True)]
            _send(answers, _json({"answers": answered}), _probabilities(loaded, found))
            samples.add(items, found)
    samples.write()


def shared_memory(descriptor: int) -> memoryview:
    """Return the memory of the service."""
    return memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))


def standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes of the service. From here on, anything that is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin.buffer, answers


def _receive(requests: BinaryIO, memory: memoryview) -> list[Item] | None:
    length = requests.read(_LENGTH)
    if not length:
        return None
    document = requests.read(int.from_bytes(length))
    if len(document) < int.from_bytes(length):
        raise DataError("the service ended in the middle of a message")
    items = []
    for item in json.loads(document)["items"]:
        content = memory[item["start"] : item["start"] + item["bytes"]]
        # The service may overwrite the memory as soon as it has the answers
        lasting = item["sampled"] or item["kind"] == "photograph"
        items.append((item, bytes(content) if lasting else content))
    return items


def _send(stream: BinaryIO, *messages: bytes) -> None:
    for message in messages:
        stream.write(len(message).to_bytes(_LENGTH) + message)
    stream.flush()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


def _faces(item: Item, until: float) -> list[AlignedFace] | ImageError:
    described, content = item
    # Beside enough large photographs the service would take this process for one that hangs
    if monotonic() >= until:
        return ImageError(_LATE)
    try:
        if described["kind"] == "photograph":
            return faces_of(bytes(content), "auto")
        return [AlignedFace(np.frombuffer(content, np.uint8).reshape(HEIGHT, WIDTH, 3))]
    except ImageError as error:
        return error


def _described(model: Model, item: Item, faces: list[AlignedFace] | ImageError) -> dict[str, Any]:
    if isinstance(faces, ImageError):
        return {"error": str(faces)}
    return {"faces": [_face(model, item[0], face) for face in faces]}


def _face(model: Model, item: dict[str, Any], face: AlignedFace) -> dict[str, Any]:
    described: dict[str, Any] = {
        "box": face.found and list(face.found.box),
        "score": face.found and face.found.score,
    }
    if item["kind"] == "photograph":
        described["light"] = _light(face.pixels)
    if item.get("explained"):
        changes = np.round(occlusion.maps(model, face.pixels) * 100).astype(int)
        described["maps"] = {
            name: changes[:, :, index].tolist() for index, name in enumerate(model.attributes)
        }
        described["picture"] = base64.b64encode(images.encode(face.pixels)).decode()
    return described


def _light(pixels: np.ndarray) -> str | None:
    """Return the slice of the evaluation of this release that a face belongs to by its brightness."""
    limits = _terciles()
    if limits is None:
        return None
    brightness = image_statistics.measure(pixels)[0]
    return "dark" if brightness <= limits[0] else "bright" if brightness > limits[1] else "medium"


@cache
def _terciles() -> tuple[float, float] | None:
    """Read the terciles from the checkout of the release, which is the working folder."""
    try:
        low, high = json.loads(EVALUATION.read_text("utf-8"))["brightness_terciles"]
    except (OSError, ValueError, KeyError):
        return None
    return float(low), float(high)


def _probabilities(model: Model, found: list[list[AlignedFace] | ImageError]) -> bytes:
    pixels = [face.pixels for faces in found if not isinstance(faces, ImageError) for face in faces]
    batches = [np.stack(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
    return b"".join(model.predict(batch).astype("=f4").tobytes() for batch in batches)


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
                self._add(item["id"], bytes(content) if item["kind"] == "photograph" else None, faces)
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
