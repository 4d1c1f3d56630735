"""Runtimes: the packages and the machine that a verdict was measured on.

The same model may decide differently on another ONNX Runtime, or with other instructions of a processor. So a
verdict belongs to a release and to a runtime.
"""

import hashlib
import os
import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from gitops import runtime

VARIABLE = "VISAGE_RUNTIME"
"""The variable with the name of the runtime of a process, as its engine knows it."""
NAME = r"^(sha256|lock):[0-9a-f]{64}$"
"""The name of a runtime in a release file: the digest of an image, or that of requirements.lock."""

_PROCESSOR = Path("/proc/cpuinfo")
_KERNELS = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"),
    *("avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""The features of a processor for which ONNX Runtime has kernels of their own."""


class Runtime(BaseModel):
    """One runtime.

    Attributes:
        packages: A digest of the installed packages and their versions, as an image or a lock fixes them.
        onnxruntime: The version of ONNX Runtime.
        processor: Its features that choose other kernels.
        contract: The contract that it keeps.
        name: Its name in a release file; None where the engine names none.
        airflow: The version of Airflow, which decides the form of the database. Earlier versions wrote none.

    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    packages: str = Field(pattern=r"^[0-9a-f]{12}$")
    onnxruntime: str = Field(max_length=40)
    processor: str = Field(max_length=200)
    contract: int = Field(ge=0, lt=10_000)
    name: str | None = Field(None, pattern=NAME)
    airflow: str | None = Field(None, pattern=r"^[0-9][0-9A-Za-z.+-]*$", max_length=40)

    @classmethod
    def present(cls) -> Self:
        """Return the runtime of this process."""
        return cls(
            packages=_packages(),
            onnxruntime=version("onnxruntime"),
            processor=_processor(_PROCESSOR),
            contract=runtime.CONTRACT,
            name=name_here(),
            airflow=_airflow(),
        )

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that differ between runtimes."""
        # `packages` has the version of Airflow too.
        return _digest(self.model_dump_json(exclude_none=True, exclude={"airflow"}))

    def same(self, other: Self) -> bool:
        """Return whether both are one runtime, on the same processor."""
        return self.digest == other.digest

    def same_image(self, other: Self) -> bool:
        """Return whether both have the same packages and contract, on whatever processor."""
        return (self.packages, self.contract) == (other.packages, other.contract)

    def __str__(self) -> str:
        named = f", {short(self.name)}" if self.name else ""
        return f"ONNX Runtime {self.onnxruntime}, packages {self.packages}, contract {self.contract}{named}"


def name_here() -> str | None:
    """Return the name of the runtime of this process; None where its engine names none, or no valid one."""
    name = os.environ.get(VARIABLE, "").strip()
    return name if re.fullmatch(NAME, name) else None


def name_of_lock(content: bytes) -> str:
    """Return the name of the runtime that requirements.lock makes."""
    return f"lock:{hashlib.sha256(content).hexdigest()}"


def short(name: str | None) -> str:
    """Return the name of a runtime for people."""
    return name[: name.index(":") + 13] if name else "no runtime named"


def on_one_machine() -> bool:
    """Return whether every task runs on this machine: on Kubernetes each may have another processor."""
    return "KUBERNETES_SERVICE_HOST" not in os.environ


def _airflow() -> str | None:
    try:
        return version("apache-airflow-core")
    except PackageNotFoundError:
        return None


@cache
def _packages() -> str:
    # Its own version never changes: the contract stands for it.
    named = {
        f"{one.name.lower()}=={one.version}" for one in distributions() if not one.name.startswith("visage")
    }
    return _digest("\n".join([platform.python_version(), *sorted(named)]))


@cache
def _processor(file: Path) -> str:
    machine = platform.machine()
    try:
        lines = file.read_text("ascii", "replace").splitlines()
    except OSError:
        return machine  # macOS, whose processors of one kind have the same features
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    there = set(flags.partition(":")[2].split())
    return " ".join([machine, *(name for name in _KERNELS if name in there)])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
