"""The processes that train one network together. Each learns from its share of every batch.

The stage starts them itself (`train.processes`), or somebody starts them with `torchrun`, on one machine or
several. They run in step: a process that is lost ends the training, and the next start of the stage goes on
from the checkpoint of the last epoch.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import ProcessException, ProcessRaisedException, start_processes

from face_attributes.common.errors import FaceAttributesError, ParamsError, TrainingError
from face_attributes.common.files import write_text
from face_attributes.params import TrainParams

Value = TypeVar("Value")

# The first process measures the precision and reads the checkpoint while the others wait
_PATIENCE = timedelta(minutes=10)
_MEETING, _PROBLEM = "meeting", "problem"
_LOOPBACK = {"linux": "lo", "darwin": "lo0"}


@dataclass(frozen=True)
class Group:
    """One process of the group, and the number of processes.

    Attributes:
        rank: Its number. The first process, number 0, writes all files.
        size: The number of processes.
        place: Its number on its machine, which is the number of its GPU.

    """

    rank: int = 0
    size: int = 1
    place: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return the rows of a batch of `count` images that this process learns from."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def add(self, values: Tensor) -> Tensor:
        """Add up the values of all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def agree(self, value: Value) -> Value:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]


ALONE = Group()


def outside() -> bool:
    """Return whether `torchrun` started this process."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= os.environ.keys()


def uses_gpu(params: TrainParams) -> bool:
    """Return whether a training takes a GPU.

    Raises:
        ParamsError: a GPU is asked for and there is none.

    """
    cuda = torch.cuda.is_available()
    if params.device == "cuda" and not cuda:
        raise ParamsError("params.yaml: train.device: cuda, but this machine has no GPU that PyTorch can use")
    return cuda and params.device != "cpu"


def processes(params: TrainParams) -> int:
    """Return the number of processes that the stage starts for a training.

    Raises:
        ParamsError: there are fewer GPUs.

    """
    gpus = torch.cuda.device_count() if uses_gpu(params) else 0
    if params.processes == "auto":
        return max(gpus, 1)
    if gpus and params.processes > gpus:
        raise ParamsError(
            f"params.yaml: train.processes: {params.processes}, but this machine has {gpus} GPUs; write auto"
        )
    return params.processes


def start(function: Callable[..., None], number: int, params: TrainParams, *arguments: Any) -> None:
    """Run `function(group, params, *arguments)` in `number` new processes, and wait for them.

    Raises:
        TrainingError: the training failed, or a process is lost.

    """
    with tempfile.TemporaryDirectory() as name:
        folder, level = Path(name), logging.getLogger("face_attributes").level
        options = (number, folder, level, function, params, arguments)
        # PyTorch reports each process that it ends after another one has failed
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
        running = start_processes(_run, options, nprocs=number, join=False, start_method="spawn")
        assert running is not None
        try:
            while not running.join():
                pass
        except ProcessException as ended:
            if (problem := folder / _PROBLEM).exists():
                raise TrainingError(problem.read_text("utf-8")) from None
            codes = [process.exitcode or 0 for process in running.processes if process]
            # The others get SIGTERM then, or notice that they are alone
            lost = [rank for rank, code in enumerate(codes) if code < 0 and code != -signal.SIGTERM]
            if not lost and isinstance(ended, ProcessRaisedException):
                raise
            rank = lost[0] if lost else ended.error_index
            how = signal.Signals(-codes[rank]).name if codes[rank] < 0 else f"exit status {codes[rank]}"
            raise TrainingError(
                f"train: process {rank + 1} of {number} was lost ({how}); run the stage train again: "
                "it continues after the last epoch"
            ) from None


def _run(
    rank: int,
    number: int,
    folder: Path,
    level: int,
    function: Callable[..., None],
    params: TrainParams,
    arguments: tuple[Any, ...],
) -> None:
    logger = logging.getLogger("face_attributes")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(level if rank == 0 else logging.WARNING)
    # In its isolation a stage has no other network
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK.get(sys.platform, "lo"))
    os.environ.setdefault("NCCL_SOCKET_IFNAME", _LOOPBACK.get(sys.platform, "lo"))
    try:
        with _joined(Group(rank, number, rank), f"file://{folder / _MEETING}", params) as group:
            function(group, params, *arguments)
    except FaceAttributesError as problem:
        write_text(folder / _PROBLEM, str(problem))
        sys.exit(1)


@contextmanager
def from_torchrun(params: TrainParams) -> Iterator[Group]:
    """Join the processes that `torchrun` started, with the variables that it sets.

    Raises:
        ParamsError: a GPU is asked for and there is none.

    """
    rank, size, place = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if rank:
        logging.getLogger("face_attributes").setLevel(logging.WARNING)
    with _joined(Group(rank, size, place), "env://", params) as group:
        yield group


@contextmanager
def _joined(group: Group, meeting: str, params: TrainParams) -> Iterator[Group]:
    gpu = uses_gpu(params)
    if gpu:
        torch.cuda.set_device(group.place)
    distributed.init_process_group(
        "nccl" if gpu else "gloo",
        init_method=meeting,
        rank=group.rank,
        world_size=group.size,
        timeout=_PATIENCE,
    )
    try:
        yield group
    finally:
        distributed.destroy_process_group()
