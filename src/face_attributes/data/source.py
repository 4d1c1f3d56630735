"""Where photographs come from: one interface over real ones and drawn ones."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from drawn_faces import DRAWN_ATTRIBUTES, SyntheticParams, draw_face
from face_attributes.common.celeba_attributes import CELEBA_ATTRIBUTES
from face_attributes.common.errors import DataError, ImageError, ParamsError
from face_attributes.data import celeba, images
from face_attributes.data.alignment import aligned_jpeg
from face_attributes.data.drawn_folder import draw_folder, is_drawn
from face_attributes.params import DataParams, describe

_CELEBA_DIR = "CELEBA_DIR"
_HOME = "VISAGE_HOME"
# Each is set by the runners of a forge; those of Forgejo and Gitea set the first one too
_RUNNERS = ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "TF_BUILD", "BUILDKITE", "TRAVIS")
_OWN_RUNNER = "VISAGE_OWN_RUNNER"


@contextmanager
def opened(params: DataParams) -> Iterator[celeba.Listing]:
    """Yield the listing of the chosen source. Drawn faces are removed after the block unless kept elsewhere.

    Raises:
        DataError: the folder is missing or malformed.
        ParamsError: an attribute is asked for that the source does not have.

    """
    if params.source == "celeba":
        yield celeba.read(celeba_folder(), wanted(params))
        return
    attributes = wanted(params)
    kept = Path(os.environ[_HOME]) / "raw" if os.environ.get(_HOME) else None
    if kept is not None and is_drawn(params.synthetic, kept):
        yield _all_different(celeba.read(kept, attributes))
        return
    with tempfile.TemporaryDirectory(prefix="visage-faces-") as temporary:
        draw_folder(params.synthetic, Path(temporary))
        yield _all_different(celeba.read(Path(temporary), attributes))


def _all_different(listing: celeba.Listing) -> celeba.Listing:
    """Return a listing of drawn faces with a person of its own on each image."""
    return replace(listing, people=listing.ids)


def wanted(params: DataParams) -> tuple[str, ...]:
    """Return the attributes to learn: those that are asked for, or all that the source has.

    Raises:
        ParamsError: an attribute is asked for that the source does not have.

    """
    available = CELEBA_ATTRIBUTES if params.source == "celeba" else DRAWN_ATTRIBUTES
    if params.attributes is None:
        return available
    unknown = [name for name in params.attributes if name not in available]
    if unknown:
        raise ParamsError(
            f"params.yaml: data.attributes: {unknown[0]} is not an attribute of source {params.source}"
        )
    return tuple(params.attributes)


def synthetic_params(marginals: Sequence[str], **knobs: Any) -> SyntheticParams:
    """Return checked parameters of drawn faces; each marginal is written as NAME=SHARE.

    Raises:
        ParamsError: a knob is out of range, or a marginal is not written so.

    """
    shares = {}
    for text in marginals:
        name, _, share = text.partition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            raise ParamsError(f"{text!r}: must be NAME=SHARE, such as Eyeglasses=0.3") from None
    try:
        return SyntheticParams(**knobs, marginals=shares)
    except ValidationError as error:
        raise ParamsError(describe(error, SyntheticParams)) from None


def some(params: DataParams, count: int) -> tuple[list[np.ndarray], list[str], list[list[str]]]:
    """Return images of the source, their names, and the attributes that each has."""
    if params.source == "synthetic":
        return _some_drawn(params.synthetic, count)
    with opened(params) as listing:
        chosen = listing.sample(count)
        shown, names, labels = [], [], []
        for index in chosen:
            try:
                content = images.read(listing.images / listing.ids[index])
                shown.append(images.decode(aligned_jpeg(content, params.align)))
            except ImageError:
                continue  # the sheet leaves bad files out; the stage collect counts them
            names.append(listing.ids[index])
            labels.append(
                [name for name, on in zip(listing.attributes, listing.labels[index], strict=True) if on]
            )
    if not shown:
        raise DataError(f"{listing.images}: none of {len(chosen)} images can be used")
    return shown, names, labels


def _some_drawn(params: SyntheticParams, count: int) -> tuple[list[np.ndarray], list[str], list[list[str]]]:
    faces = [draw_face(params.seed, index, params) for index in range(count)]
    labels = [[name for name, on in attributes.items() if on] for _, attributes in faces]
    return [image for image, _ in faces], [f"{index + 1:06d}.jpg" for index in range(count)], labels


def celeba_folder() -> Path:
    """Return the folder that CELEBA_DIR names.

    Raises:
        DataError: The variable is not set, there is no such folder, or this is somebody else's runner.

    """
    runner = next((name for name in _RUNNERS if os.environ.get(name)), None)
    if runner and os.environ.get(_OWN_RUNNER) != "true":
        raise DataError(
            f"data.source is celeba, and {runner} shows a runner of a forge: photographs do not go there; "
            f"use synthetic, or set {_OWN_RUNNER}=true on a runner of your own"
        )
    value = os.environ.get(_CELEBA_DIR)
    if not value:
        raise DataError(
            f"{_CELEBA_DIR} is not set, and params.yaml: data.source is celeba; "
            f"set it to the folder that holds {celeba.IMAGES} and {celeba.ATTRIBUTES}.txt"
        )
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise DataError(f"{_CELEBA_DIR}={value}: no such folder")
    return folder
