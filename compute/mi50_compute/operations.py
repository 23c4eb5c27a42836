"""What is computed: inputs are made on the CPU, the device computes, the CPU computes it again in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mi50_compute import bounds, training
from mi50_compute.bounds import Verdict

SEED = 906


@dataclass(frozen=True)
class Operation:
    """One operation: its id, what it is, and the function that runs it on a device."""

    id: str
    title: str
    run: Callable[[torch.device], Verdict]


def _uniform(shape: tuple[int, ...], dtype: torch.dtype, seed: int, low: float = -1.0) -> torch.Tensor:
    """Values between low and 1, the same on every machine, rounded to dtype."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator, dtype=torch.float64) * (1.0 - low) + low).to(dtype)


def _product(left: torch.Tensor, right: torch.Tensor, device: torch.device) -> Verdict:
    """A matrix product of two CPU tensors; a transposed operand stays a transposed view on the device."""
    exact = left.double() @ right.double()
    magnitude = left.double().abs() @ right.double().abs()
    bound = bounds.inner_product(exact, magnitude, left.shape[-1], left.dtype)
    return bounds.compare(_move(left, device) @ _move(right, device), exact, bound)


def _move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy to the device with the strides kept."""
    return tensor.to(device, memory_format=torch.preserve_format)


def _matmul(dtype: torch.dtype, rows: int, inner: int, columns: int) -> Callable[[torch.device], Verdict]:
    def run(device: torch.device) -> Verdict:
        return _product(_uniform((rows, inner), dtype, SEED), _uniform((inner, columns), dtype, SEED + 1), device)

    return run


def _batched(dtype: torch.dtype) -> Callable[[torch.device], Verdict]:
    def run(device: torch.device) -> Verdict:
        left = _uniform((8, 256, 320), dtype, SEED)
        right = _uniform((8, 320, 192), dtype, SEED + 1)
        exact = torch.bmm(left.double(), right.double())
        magnitude = torch.bmm(left.double().abs(), right.double().abs())
        bound = bounds.inner_product(exact, magnitude, 320, dtype)
        return bounds.compare(torch.bmm(left.to(device), right.to(device)), exact, bound)

    return run


def _transposed(dtype: torch.dtype) -> Callable[[torch.device], Verdict]:
    def run(device: torch.device) -> Verdict:
        return _product(_uniform((448, 512), dtype, SEED).t(), _uniform((384, 448), dtype, SEED + 1).t(), device)

    return run


def _reduction(dtype: torch.dtype) -> Callable[[torch.device], Verdict]:
    def run(device: torch.device) -> Verdict:
        # Positive values: sums do not cancel, so a dropped part of a block shows in every digit.
        values = _uniform((256, 4096), dtype, SEED, low=0.0)
        exact = values.double().sum(dim=1)
        return bounds.compare(
            values.to(device).sum(dim=1), exact, bounds.inner_product(exact, exact.abs(), values.shape[1], dtype)
        )

    return run


def _convolution(dtype: torch.dtype) -> Callable[[torch.device], Verdict]:
    def run(device: torch.device) -> Verdict:
        conv = torch.nn.functional.conv2d
        image = _uniform((4, 32, 33, 31), dtype, SEED)
        kernel = _uniform((48, 32, 3, 3), dtype, SEED + 1)
        exact = conv(image.double(), kernel.double(), padding=1)
        magnitude = conv(image.double().abs(), kernel.double().abs(), padding=1)
        bound = bounds.inner_product(exact, magnitude, 32 * 9, dtype)
        # MIOpen may choose Winograd: its transforms round in the operands' type before the sums (Barabasz et al.,
        # Error Analysis and Improving the Accuracy of Winograd Convolution, ACM TOMS 46, 2020): eight are allowed.
        bound += 8 * bounds.ROUNDOFF[dtype] * magnitude
        return bounds.compare(conv(image.to(device), kernel.to(device), padding=1), exact, bound)

    return run


def _copy(device: torch.device) -> Verdict:
    """To the device and back: every byte, at sizes around a page and a large one."""
    for size in (1, 4095, 4097, 1 << 24):
        values = torch.randint(0, 256, (size,), generator=torch.Generator().manual_seed(size), dtype=torch.uint8)
        back = values.to(device).clone().to("cpu")
        wrong = int((values != back).sum())
        if wrong:
            return Verdict(float("inf"), f"{wrong} of {size} bytes came back changed")
    return Verdict(0.0, "every byte came back")


F32, F16 = torch.float32, torch.float16
OPERATIONS: tuple[Operation, ...] = (
    Operation("copy", "copy to the device and back, 16 MiB", _copy),
    # The least that makes rocBLAS read its catalog and launch a kernel: answers in a second whether there is one.
    Operation("matmul-small-fp32", "matrix product 16 x 24 x 20, fp32", _matmul(F32, 16, 24, 20)),
    Operation("matmul-small-fp16", "matrix product 16 x 24 x 20, fp16", _matmul(F16, 16, 24, 20)),
    Operation("matmul-fp32", "matrix product 1024 x 1024 x 1024, fp32", _matmul(F32, 1024, 1024, 1024)),
    Operation("matmul-fp16", "matrix product 1024 x 1024 x 1024, fp16", _matmul(F16, 1024, 1024, 1024)),
    Operation("matmul-odd-fp32", "odd-shaped product 517 x 1023 x 255, fp32", _matmul(F32, 517, 1023, 255)),
    Operation("matmul-odd-fp16", "odd-shaped product 517 x 1023 x 255, fp16", _matmul(F16, 517, 1023, 255)),
    Operation("matvec-fp16", "one row times 4096 x 4096, fp16 (the shape of decode)", _matmul(F16, 1, 4096, 4096)),
    Operation("matmul-transposed-fp32", "product of two transposed operands, fp32", _transposed(F32)),
    Operation("matmul-transposed-fp16", "product of two transposed operands, fp16", _transposed(F16)),
    Operation("matmul-batched-fp32", "batched product 8 x 256 x 320 x 192, fp32", _batched(F32)),
    Operation("matmul-batched-fp16", "batched product 8 x 256 x 320 x 192, fp16", _batched(F16)),
    Operation("sum-fp32", "sums of 4096 values, fp32", _reduction(F32)),
    Operation("sum-fp16", "sums of 4096 values, fp16", _reduction(F16)),
    Operation("conv2d-fp32", "3 x 3 convolution, 32 to 48 channels, fp32", _convolution(F32)),
    Operation("conv2d-fp16", "3 x 3 convolution, 32 to 48 channels, fp16", _convolution(F16)),
)
TRAINING = Operation("train", "a small network learns ten drawn digits", training.run)
BY_ID = {operation.id: operation for operation in (*OPERATIONS, TRAINING)}
