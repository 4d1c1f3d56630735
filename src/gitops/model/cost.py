"""The cost of a run: the time, the memory and the bytes that each of its stages took.

Each step of a run writes it as JSON into the trailer `Cost` of its commit, with the cost of the steps before
it. So the last commit has all of it, and no file of a release differs because of it.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field

from gitops.errors import ParseError
from gitops.git.repository import Repository
from gitops.paths import LOCK
from gitops.text import numbers, record
from gitops.text.record import Count, Record

TRAILER = "Cost"
LONGEST = 16_384
_Seconds = Annotated[float, Field(ge=0, le=1e9)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")]


class StageCost(Record):
    """The cost of a stage, with the work of DVC around it.

    Attributes:
        seconds: The time that it took.
        cpu_seconds: The processor time of all its processes.
        peak_bytes: The memory that its largest process took at most.
        read_bytes: The size of the data that it read.
        written_bytes: The size of its outputs.
        gpu_seconds: The time for which it had GPUs, times their number; None without one.

    """

    seconds: _Seconds
    cpu_seconds: _Seconds
    peak_bytes: Count
    read_bytes: Count
    written_bytes: Count
    gpu_seconds: _Seconds | None = None


class Cost(Record):
    """The cost of a run: of each stage that had something to do, in the order in which they ran."""

    format: Literal[1] = 1
    run: str = Field(max_length=300)
    stages: dict[_Name, StageCost] = Field(default_factory=dict, max_length=60)

    @classmethod
    def of(cls, text: str, run: str | None = None) -> Self | None:
        """Read the trailer of a commit; None where it has none that can be read, or that of another run."""
        try:
            cost = record.read(cls, text.encode(), largest=LONGEST)
        except ParseError:
            return None
        return cost if run in (None, cost.run) else None

    def adding(self, stages: Mapping[str, StageCost]) -> Self:
        """Return the cost with more stages; one that ran before is replaced."""
        return self.model_copy(update={"stages": {**self.stages, **stages}})

    @property
    def total(self) -> StageCost:
        """The sums over the stages, and the largest peak of memory."""
        return summed(self.stages.values())

    @property
    def trailer(self) -> str:
        """The trailer of a commit message."""
        return f"{TRAILER}: {self.model_dump_json(exclude_none=True)}"


def total(costs: Iterable[Cost]) -> StageCost | None:
    """Return the cost of several runs together, with the largest peak of memory; None without any."""
    totals = [cost.total for cost in costs]
    return summed(totals) if totals else None


def summed(costs: Collection[StageCost]) -> StageCost:
    """Return the sums, and the largest peak of memory."""
    gpu = [cost.gpu_seconds for cost in costs if cost.gpu_seconds is not None]
    return StageCost.model_construct(  # each is within its limits, the sum may exceed them
        seconds=sum(cost.seconds for cost in costs),
        cpu_seconds=sum(cost.cpu_seconds for cost in costs),
        peak_bytes=max((cost.peak_bytes for cost in costs), default=0),
        read_bytes=sum(cost.read_bytes for cost in costs),
        written_bytes=sum(cost.written_bytes for cost in costs),
        gpu_seconds=sum(gpu) if gpu else None,
    )


def of_commit(repository: Repository, commit: str) -> Cost | None:
    """Return the cost of the run that made the model of a commit; None if that is not known."""
    made = repository.log(commit, LOCK, options=("--max-count=1",))
    return Cost.of(made[0].cost) if made else None


COLUMNS = ("time", "processor", "GPU", "memory", "read", "written")
"""The columns of a cost for people."""


def cells(cost: StageCost) -> list[str]:
    """Return a cost for people, a text for each of COLUMNS."""
    seconds = (cost.seconds, cost.cpu_seconds, cost.gpu_seconds)
    sizes = (cost.peak_bytes, cost.read_bytes, cost.written_bytes)
    return [*("" if one is None else numbers.duration(one) for one in seconds), *map(numbers.size, sizes)]


def line(cost: StageCost) -> str:
    """Return a cost for people, on one line."""
    gpu = "" if cost.gpu_seconds is None else f", {numbers.duration(cost.gpu_seconds)} of GPUs"
    memory, read, written = map(numbers.size, (cost.peak_bytes, cost.read_bytes, cost.written_bytes))
    spent = f"{numbers.duration(cost.cpu_seconds)} of processors{gpu}"
    return f"{spent}, {memory} of memory, {read} read, {written} written"
