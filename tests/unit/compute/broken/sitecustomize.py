"""Breaks torch in a child process the way MI50_TEST_BREAK says; on the path of tests of the compute proof alone.

It proves that the proof notices; it does not prove what a broken MI50 prints.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import time

ROCBLAS = (
    "rocBLAS error: Cannot read /venv/lib/python3.11/site-packages/torch/lib/rocblas/library/TensileLibrary.dat:"
    " No such file or directory for GPU arch : gfx906"
)


def _break(torch) -> None:
    how = os.environ["MI50_TEST_BREAK"]
    matmul = torch.Tensor.__matmul__

    def wrong(left, right):
        # One row block is computed with one product too few: what a kernel with a wrong edge case does.
        result = matmul(left, right)
        if left.dtype is torch.float32:
            result[-1] -= left[-1, -1] * right[-1]
        return result

    def hang(left, right):
        time.sleep(600)

    def abort(left, right):
        sys.stderr.write("a line before it\n" + ROCBLAS + "\n")
        sys.stderr.flush()
        os.abort()

    def raises(left, right):
        raise RuntimeError("HIP error: invalid device function")

    def not_finite(left, right):
        return matmul(left, right) * float("nan") if left.dtype is torch.float32 else matmul(left, right)

    if how == "start":
        os.abort()
    torch.Tensor.__matmul__ = {"wrong": wrong, "nan": not_finite}.get(how, matmul)
    if how in {"hang", "abort", "raises"}:
        torch.bmm = {"hang": hang, "abort": abort, "raises": raises}[how]
    if how in {"sum", "lost-rank"}:
        _break_all_reduce(how)


def _break_all_reduce(how: str) -> None:
    import torch.distributed as dist

    inner = dist.all_reduce
    if how == "sum":
        dist.all_reduce = lambda tensor: None
    else:
        dist.all_reduce = lambda tensor: os.kill(os.getpid(), 11) if dist.get_rank() == 1 else inner(tensor)


class _Finder(importlib.abc.MetaPathFinder):
    """Lets torch be imported, and then breaks it."""

    def find_spec(self, name, path, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        inner = spec.loader.exec_module

        def exec_module(module):
            inner(module)
            _break(module)

        spec.loader.exec_module = exec_module
        return spec


# The child alone: the parent imports torch too, and must survive to tell.
if "mi50_compute" in " ".join(sys.orig_argv) and any(
    part in " ".join(sys.orig_argv) for part in ("mi50_compute.worker", "mi50_compute.allreduce")
):
    sys.meta_path.insert(0, _Finder())
