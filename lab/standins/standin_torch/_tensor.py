"""STAND-IN for torch's tensors: matrices of plain Python numbers, rounded to their type after each operation.

Does not prove: anything about torch's own arithmetic or a GPU's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple


class dtype(NamedTuple):
    """A type of numbers: its name and struct's letter for it."""

    name: str
    letter: str


float64, float32, float16, uint8 = (
    dtype("float64", "d"),
    dtype("float32", "f"),
    dtype("float16", "e"),
    dtype("uint8", "B"),
)
Rows = list[list[float]]


class Tensor:
    """A matrix; where it is (`cpu` or `cuda`) matters for products alone."""

    def __init__(self, rows: Rows, kind: dtype, where: str = "cpu") -> None:
        """Round the values to the type."""
        pack = struct.Struct(f"<{kind.letter}")
        self.rows = rows if kind == float64 else [[pack.unpack(pack.pack(value))[0] for value in row] for row in rows]
        self.dtype, self.where = kind, where

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.rows[0])

    def to(self, *what: Any, memory_format: object = None) -> Tensor:  # noqa: ANN401 - devices and types, in any order
        """Another type or another place."""
        del memory_format
        kind, where = self.dtype, self.where
        for one in what:
            if isinstance(one, dtype):
                kind = one
            else:
                where = one if isinstance(one, str) else one.type
        return Tensor(self.rows, kind, where)

    def double(self) -> Tensor:
        """The same as float64."""
        return self.to(float64)

    def detach(self) -> Tensor:
        """There are no gradients."""
        return self

    def each(self, do: Callable[[float], float]) -> Tensor:
        """Apply a function to every value."""
        return Tensor([[do(value) for value in row] for row in self.rows], self.dtype, self.where)

    def abs(self) -> Tensor:
        """Without signs."""
        return self.each(abs)

    def _with(self, other: Tensor | float, do: Callable[[float, float], float]) -> Tensor:
        if not isinstance(other, Tensor):
            return self.each(lambda value: do(value, other))
        pairs = zip(self.rows, other.rows)
        return Tensor([[do(a, b) for a, b in zip(mine, theirs)] for mine, theirs in pairs], self.dtype, self.where)

    def __add__(self, other: Tensor | float) -> Tensor:
        """Sum."""
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Tensor | float) -> Tensor:
        """Difference."""
        return self._with(other, lambda a, b: a - b)

    def __mul__(self, other: Tensor | float) -> Tensor:
        """Product of elements."""
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __truediv__(self, other: Tensor | float) -> Tensor:
        """Quotient."""
        return self._with(other, lambda a, b: a / b)

    def __gt__(self, other: float) -> Tensor:
        """Comparison, as zeros and ones."""
        return self.each(lambda value: float(value > other))

    def __invert__(self) -> Tensor:
        """The opposite of zeros and ones."""
        return self.each(lambda value: 1.0 - value)

    def __matmul__(self, other: Tensor) -> Tensor:
        """Matrix product, added up as float64; on a GPU only with its kernels."""
        if self.where != "cpu":
            from torch import need_kernels  # noqa: PLC0415 - they import each other

            need_kernels()
        columns = list(zip(*other.rows))
        rows = [[sum(a * b for a, b in zip(row, column)) for column in columns] for row in self.rows]
        return Tensor(rows, self.dtype, self.where)

    def numel(self) -> int:
        """How many values."""
        return self.shape[0] * self.shape[1]

    def flatten(self) -> list[float]:
        """All values in a row."""
        return [value for row in self.rows for value in row]

    def any(self) -> bool:
        """Whether one is not zero."""
        return any(self.flatten())

    def sum(self) -> float:
        """The sum of all."""
        return sum(self.flatten())

    def argmax(self) -> int:
        """The place of the largest."""
        values = self.flatten()
        return values.index(max(values))
