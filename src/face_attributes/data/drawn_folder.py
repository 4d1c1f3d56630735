"""A folder of drawn faces in the CelebA layout.

`img_align_celeba/000001.jpg` ..., `synthetic.json` (the parameters and the renderer),
`list_eval_partition.txt` and, last of all, `list_attr_celeba.txt`: a folder without it is not complete.
"""

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from joblib import cpu_count

import drawn_faces
from drawn_faces import population
from drawn_faces.face import render
from drawn_faces.params import SyntheticParams
from drawn_faces.random_streams import RandomStreams
from face_attributes.common import files
from face_attributes.common.errors import DataError
from face_attributes.common.progress import bar

IMAGES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
RECIPE = "synthetic.json"

# Shares of train, and of train and validation
_SPLIT = (0.65, 0.75)
_CHUNK = 100  # faces a process draws at a time
_NUMBERS = ("count", "held_out")  # the parameters that may grow
HELD_OUT = 900_000  # the first face held out: no `count` comes so far, so none is ever trained on


def draw_folder(
    params: SyntheticParams, folder: Path, progress: bool = True, processes: int | None = None
) -> None:
    """Draw `params.faces` faces into `folder`, created if missing.

    The files are the same, bit for bit, whatever the number of processes (default: one for each core). A
    folder that was interrupted is continued, and one that holds fewer of the same faces is extended.

    Raises:
        DataError: the folder holds other faces, or more of them, or anything else.

    """
    _claim(folder, params)
    files.sweep(folder / IMAGES)
    indices = [*range(params.count), *range(HELD_OUT, HELD_OUT + params.held_out)]
    columns = population.sample(params.seed, indices, params.marginals)
    missing = [index for index in indices if not (folder / IMAGES / file_name(index)).exists()]
    chunks = [missing[start : start + _CHUNK] for start in range(0, len(missing), _CHUNK)]
    draw = partial(_draw_chunk, params, folder / IMAGES)
    with (
        _mapper(len(chunks), processes) as mapper,
        bar("draw", len(missing), "faces", disable=not progress) as drawn,
    ):
        for count in mapper(draw, chunks):
            drawn.update(count)

    parts = [f"{file_name(index)} {partition(params, index)}\n" for index in indices]
    files.write_text(folder / PARTITION, "".join(parts))
    signs = np.where(np.stack([columns[name] for name in population.DRAWN_ATTRIBUTES], axis=1), " 1", "-1")
    rows = [f"{file_name(index)} {' '.join(row)}\n" for index, row in zip(indices, signs, strict=True)]
    header = f"{params.faces}\n{' '.join(population.DRAWN_ATTRIBUTES)}\n"
    files.write_text(folder / ATTRIBUTES, header + "".join(rows))


def is_drawn(params: SyntheticParams, folder: Path) -> bool:
    """Whether `folder` is complete and holds exactly these faces, drawn by this very renderer."""
    return (folder / ATTRIBUTES).exists() and _recipe_of(folder) == recipe(params)


def recipe(params: SyntheticParams) -> dict[str, object]:
    """Return everything that determines the folder: parameters, renderer and drawing libraries."""
    versions = {"opencv": cv2.__version__, "numpy": np.__version__}
    return {"params": params.model_dump(), "renderer": _renderer_digest(), "libraries": versions}


def file_name(index: int) -> str:
    """Name of image `index`, counted from 0: CelebA counts from 000001.jpg."""
    return f"{index + 1:06d}.jpg"


def _claim(folder: Path, params: SyntheticParams) -> None:
    wanted = recipe(params)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: not a folder; name another")
    if folder.exists() and any(folder.iterdir()):
        recipe_there = _recipe_of(folder)
        if recipe_there is None:
            raise DataError(f"{folder}: not empty and not a folder of drawn faces; name another folder")
        if recipe_there == wanted and (folder / ATTRIBUTES).exists():
            return
        fewer = all(recipe_there["params"].pop(name, 0) <= getattr(params, name) for name in _NUMBERS)
        same = {**wanted, "params": params.model_dump(exclude=set(_NUMBERS))}
        if recipe_there != same or not fewer:
            raise DataError(f"{folder}: holds other faces (see {RECIPE}); delete it or name another folder")
        (folder / ATTRIBUTES).unlink(missing_ok=True)
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    files.write_json(folder / RECIPE, wanted)


def _recipe_of(folder: Path) -> dict | None:
    try:
        recipe = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    noted = recipe.get("params") if isinstance(recipe, dict) else None
    known = isinstance(noted, dict) and all(isinstance(noted.get(name, 0), int) for name in _NUMBERS)
    return recipe if known else None


@cache
def _renderer_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(drawn_faces.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _draw_chunk(params: SyntheticParams, images: Path, indices: list[int]) -> int:
    columns = population.sample(params.seed, indices, params.marginals)
    shown = zip(*(columns[name].tolist() for name in population.DRAWN_ATTRIBUTES), strict=True)
    for index, row in zip(indices, shown, strict=True):
        attributes = dict(zip(population.DRAWN_ATTRIBUTES, row, strict=True))
        image = render(params.seed, index, attributes, params)
        quality = int(RandomStreams(params.seed, index).of("jpeg").integers(78, 96))
        _, data = cv2.imencode(
            ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        with files.replacing(images / file_name(index), swept=True) as beside:
            beside.write_bytes(data.tobytes())
    return len(indices)


def partition(params: SyntheticParams, index: int) -> int:
    """Code of the part of face `index` (0 train, 1 validation, 2 test)."""
    if index >= HELD_OUT:
        return 2
    point = RandomStreams(params.seed, index).of("partition").random()
    return sum(point >= bound for bound in _SPLIT)


@contextmanager
def _mapper(chunks: int, processes: int | None) -> Iterator:
    processes = min(processes or cpu_count(), chunks)  # joblib's count knows the limits of a container
    if processes <= 1:
        yield map
        return
    # Not forked: the caller may hold threads (torch, cv2) whose locks a forked child would wait for.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_process)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's process does not notice on its own that its parent was killed, and would stay for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
