"""Answer the online service: photographs come in shared memory, the answers of the model leave by a pipe.

The service starts this command in the checkout of the release that it serves, so each release answers with
its own code. A message is eight bytes with the length of a JSON document, and the document. A request names
its items, and where their bytes are in the memory:

    {"items": [{"kind": "photograph", "id": "...", "start": 0, "bytes": 20431, "sampled": true}, ...]}

`pixels` are those of an aligned face, uint8 RGB (218, 178, 3). The first message describes the model. Then
each request gets two messages, and after them the service may write to that part of the memory again. The
first one has an answer for each item, and the second one the probabilities, float32, a row for each face:

    {"answers": [{"faces": [{"box": [...], "score": 0.99, "light": "dark"}]}, {"error": "..."}]}

If a request has `"within": <seconds>`, a large photograph holds up no other one. An item that is not begun by
then is answered by `{"again": true}`, and one that is not ready soon after it by `{"late": true}`. The latter
gets two messages of its own once it is ready; the first one of them names it: `"late": "<id>"`.

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
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import cv2
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
_WITHIN = 10.0  # seconds in which the photographs of a request without `within` are begun
_LATE = "not read in time, beside other large photographs; send fewer at once"
_LOOK = 0.01  # seconds

Item = tuple[dict[str, Any], bytes | memoryview]


@dataclass(frozen=True)
class Read:
    """The answer to an item as the first message has it, and its faces."""

    described: dict[str, Any]
    faces: tuple[AlignedFace, ...] = ()


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
    _warm(loaded)
    description = {
        "format": FORMAT,
        "model_sha256": loaded.sha256,
        "attributes": list(loaded.attributes),
        "thresholds": loaded.thresholds.tolist(),
        "cores": cpu_count(),
    }
    _send(answers, _json(description))
    conversation = Conversation(loaded, samples, answers)
    while (request := _receive(requests, memory)) is not None:
        conversation.answer(*request)
    conversation.end()
    samples.write()


def _warm(model: Model) -> None:
    """Load all that a photograph takes, so that the first one after a change of release waits for nothing."""
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    model.predict(black[None])
    # It has no face, and a runtime of an earlier release has no Pillow
    with suppress(ImageError, ImportError):
        faces_of(cv2.imencode(".png", black)[1].tobytes(), "always")


def shared_memory(descriptor: int) -> memoryview:
    """Return the memory of the service."""
    return memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))


def standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes of the service. From here on, anything that is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return sys.stdin.buffer, answers


def _receive(requests: BinaryIO, memory: memoryview) -> tuple[list[Item], float | None] | None:
    length = requests.read(_LENGTH)
    if not length:
        return None
    document = requests.read(int.from_bytes(length))
    if len(document) < int.from_bytes(length):
        raise DataError("the service ended in the middle of a message")
    request, items = json.loads(document), []
    for item in request["items"]:
        content = memory[item["start"] : item["start"] + item["bytes"]]
        # The service may overwrite the memory as soon as it has the answers
        lasting = item["sampled"] or item["kind"] == "photograph"
        items.append((item, bytes(content) if lasting else content))
    return items, request.get("within")


def _send(stream: BinaryIO, *messages: bytes) -> None:
    for message in messages:
        stream.write(len(message).to_bytes(_LENGTH) + message)
    stream.flush()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


@contextmanager
def ending() -> Iterator[None]:
    """End the process if a thread fails, as it ends if the main thread does; the service starts another."""
    try:
        yield
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


class Conversation:
    """Answers requests. Items that take long are answered later, from threads of their own."""

    def __init__(self, model: Model, samples: "Samples", answers: BinaryIO) -> None:
        self._model = model
        self._samples = samples
        self._answers = answers
        self._cores = cpu_count()
        self._pool = ThreadPoolExecutor(self._cores)
        # Guards the stream and the number of late items
        self._turn = threading.Condition()
        self._late = 0

    def answer(self, items: list[Item], within: float | None) -> None:
        """Answer a request.

        Args:
            items: The items.
            within: Seconds after which the answer leaves, without the items that are not ready; None waits.

        """
        replies = [self._begin(item) for item in items]
        futures = [reply for reply in replies if isinstance(reply, Future)]
        late: set[Future[Read]] = set()
        if wait(futures, _WITHIN if within is None else within).not_done:
            # The threads that are busy end with their photograph, and the next request gets others
            self._pool.shutdown(wait=within is None, cancel_futures=True)
            self._pool = ThreadPoolExecutor(self._cores)
            if within is not None:
                late = self._left(futures, within / 2)
        unread = Read({"error": _LATE} if within is None else {"again": True})
        reads = [
            reply
            if isinstance(reply, Read)
            else Read({"late": True})
            if reply in late
            else unread
            if reply.cancelled()
            else reply.result()
            for reply in replies
        ]
        self._reply({}, reads, late=len(late))
        for item, reply, read in zip(items, replies, reads, strict=True):
            if isinstance(reply, Future) and reply in late:
                reply.add_done_callback(lambda done, item=item: self._finish(item, done))
            else:
                self._samples.add(item, read)

    def end(self) -> None:
        """Wait for the late items."""
        with self._turn:
            self._turn.wait_for(lambda: self._late == 0)

    def _begin(self, item: Item) -> "Read | Future[Read]":
        described, content = item
        if described["kind"] == "photograph":
            return self._pool.submit(_read, self._model, described, bytes(content))
        face = AlignedFace(np.frombuffer(content, np.uint8).reshape(HEIGHT, WIDTH, 3))
        return Read({"faces": [{"box": None, "score": None}]}, (face,))

    def _left(self, futures: "list[Future[Read]]", seconds: float) -> "set[Future[Read]]":
        """Return the items that are late after some seconds; with earlier ones, at most two for each core."""
        left = wait([future for future in futures if not future.cancelled()], seconds).not_done
        while left and self._late + len(left) > 2 * self._cores:
            left = wait(left, _LOOK).not_done
        return left

    def _finish(self, item: Item, done: "Future[Read]") -> None:
        with ending():
            read = done.result()
            self._reply({"late": item[0]["id"]}, [read], late=-1)
            self._samples.add(item, read)

    def _reply(self, head: dict[str, Any], reads: list[Read], late: int) -> None:
        document = _json(head | {"answers": [read.described for read in reads]})
        probabilities = _probabilities(self._model, [face for read in reads for face in read.faces])
        with self._turn:
            _send(self._answers, document, probabilities)
            self._late += late
            self._turn.notify_all()


def _read(model: Model, described: dict[str, Any], content: bytes) -> Read:
    try:
        faces = faces_of(content, "auto")
    except ImageError as error:
        return Read({"error": str(error)})
    explained = bool(described.get("explained"))
    return Read({"faces": [_face(model, face, explained) for face in faces]}, tuple(faces))


def _face(model: Model, face: AlignedFace, explained: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "box": face.found and list(face.found.box),
        "score": face.found and face.found.score,
        "light": _light(face.pixels),
    }
    if explained:
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


def _probabilities(model: Model, faces: list[AlignedFace]) -> bytes:
    pixels = [face.pixels for face in faces]
    batches = [np.stack(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
    return b"".join(model.predict(batch).astype("=f4").tobytes() for batch in batches)


class Samples:
    """Collects sampled faces, and writes them as files of scores: some at a time, or after a minute."""

    def __init__(self, scorer: Scorer, scores: Path, keep: Path | None) -> None:
        self._scorer = scorer
        self._scores = scores
        self._keep = keep
        self._turn = threading.RLock()
        self._rows: list[pa.RecordBatch] = []
        self._name = ""
        self._timer = threading.Timer(_SECONDS, self._due)

    def add(self, item: Item, read: Read) -> None:
        """Add the faces of an item if it is sampled. One that was refused has none."""
        described, content = item
        if not described["sampled"] or not read.faces:
            return
        name = described["id"]
        with self._turn:
            if not self._rows:
                self._begin()
            self._rows.append(self._scorer.rows(self._scorer.numbered(name, list(read.faces))))
            if self._keep is not None and described["kind"] == "photograph":
                with replacing(self._keep / self._name / name) as partial:
                    partial.write_bytes(content)
            if len(self._rows) >= _ROWS:
                self.write()

    def _begin(self) -> None:
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        self._name = f"online-{self._scorer.release[:12] if self._scorer.release else ''}-{moment}"
        self._timer = threading.Timer(_SECONDS, self._due)
        self._timer.daemon = True
        self._timer.start()

    def _due(self) -> None:
        with ending():
            self.write()

    def write(self) -> None:
        """Write the collected rows to a file of scores, and its summary. Without rows, write nothing."""
        with self._turn:
            self._timer.cancel()
            if self._rows:
                self._write()

    def _write(self) -> None:
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
