"""STAND-IN for torch of PyTorch's ROCm wheels: small matrix products in plain Python, under torch's names.

Replaces: 4 GB of wheel with the same paths, the same metadata and a real rocBLAS library folder without gfx906. Like
the real one it sees the cards of the node (the lab's simulated KFD), looks for gfx906's catalog in torch/lib/rocblas
before the first product, and aborts with rocBLAS's own words when it is not there.
Does not prove: that anything is computed on a GPU, that the kernels run, or that real torch imports on this node.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import version
from torch._tensor import Tensor, dtype, float16, float32, float64, uint8

__all__ = ["Generator", "Tensor", "cuda", "device", "dtype", "float16", "float32", "float64", "rand", "uint8"]
__version__ = version.__version__
LIBRARY = Path(__file__).parent / "lib/rocblas/library"
SYSFS = Path(os.environ.get("MI50_LAB_SYSFS", "/srv/mi50-lab/sys"))
preserve_format = "preserve"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever was asked for is not there
    raise AttributeError(f"the lab's stand-in for torch has no {name}: only the small matrix products are in it")


class device:
    """`cpu` or `cuda:N`."""

    def __init__(self, name: str) -> None:
        """Read a name."""
        self.type, dummy, number = name.partition(":")
        self.index = int(number or 0)


class Generator:
    """A seeded source of numbers."""

    def __init__(self) -> None:
        """Start with no seed of its own."""
        self.source = random.Random(0)  # noqa: S311 - test data

    def manual_seed(self, seed: int) -> Generator:
        """Seed it."""
        self.source.seed(seed)
        return self


def rand(shape: tuple[int, ...], generator: Generator, dtype: dtype) -> Tensor:
    """Uniform values of [0, 1)."""
    rows, columns = shape
    return Tensor([[generator.source.random() for dummy in range(columns)] for dummy in range(rows)], dtype)


def isfinite(tensor: Tensor) -> Tensor:
    """Element by element."""
    return tensor.each(lambda value: float(value - value == 0))


def cards() -> list[str]:
    """gfx906 nodes of the simulated KFD, when the device file is there as well."""
    nodes = sorted(SYSFS.glob("class/kfd/kfd/topology/nodes/*/properties"), key=lambda path: int(path.parent.name))
    found = [str(path) for path in nodes if "gfx_target_version 90006" in path.read_text()]
    return found if Path("/dev/kfd").exists() else []


def need_kernels() -> None:
    """What rocBLAS does before its first product on a GPU; called by the tensors."""
    if os.environ.get("TORCH_BLAS_PREFER_HIPBLASLT") != "0":
        sys.stderr.write(
            "Attempting to use hipBLASLt on an unsupported architecture! Overriding blas backend to hipblas\n"
        )
    kernels = [*LIBRARY.glob("Kernels.so-000-gfx906*.hsaco")] and (LIBRARY / "TensileLibrary_lazy_gfx906.dat").exists()
    if not kernels:
        sys.stderr.write(
            f"\nrocBLAS error: Cannot read {LIBRARY}/TensileLibrary.dat: No such file or directory"
            " for GPU arch : gfx906\n"
        )
        sys.stderr.flush()
        os.abort()


class _Cuda:
    """torch.cuda."""

    def device_count(self) -> int:
        """How many cards there are."""
        return len(cards())

    def get_device_properties(self, which: device) -> SimpleNamespace:
        """What the real one says of an MI50."""
        del which
        return SimpleNamespace(
            name="AMD Instinct MI50 (stand-in)", gcnArchName="gfx906:sramecc+:xnack-", total_memory=34342961152
        )

    def synchronize(self, which: device) -> None:
        """Nothing runs beside this."""


cuda = _Cuda()
