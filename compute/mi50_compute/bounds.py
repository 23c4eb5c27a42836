"""How far a correct result may be from the exact one.

An inner product of length k, summed in any order with unit roundoff u, is off by at most
lambda * sqrt(k) * u * sum |a_i||b_i| with a probability of at least 1 - 2k exp(-lambda^2 / 2), if rounding errors are
independent with mean zero (N. J. Higham and T. Mary, A New Approach to Probabilistic Rounding Error Analysis, SIAM J.
Sci. Comput. 41(5), 2019, first order). With lambda = 8 and k = 4096 that is one value in 10^10; the worst-case bound,
k * u, would be eight times as wide and hide as much more.
Storing the result rounds once more: u_out * |exact|. So a correct kernel passes whatever its order of
summation, and a wrong one cannot hide behind a guessed tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Unit roundoff of round-to-nearest: half the distance of 1 to the next number.
ROUNDOFF = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.float64: 2.0**-53}
# What rocBLAS and MIOpen add up in, whatever the type of the operands.
ACCUMULATOR = 2.0**-24
LAMBDA = 8.0
# Below this a number of the type has fewer digits (its smallest subnormal number).
TINY = {torch.float32: 2.0**-149, torch.float16: 2.0**-24, torch.float64: 0.0}


@dataclass(frozen=True)
class Verdict:
    """One comparison: the largest error as a share of its bound (above 1 is wrong), and where it was."""

    ratio: float
    detail: str

    @property
    def ok(self) -> bool:
        """Whether every element lies within its bound; a NaN does not."""
        return self.ratio <= 1.0


def inner_product(exact: torch.Tensor, magnitude: torch.Tensor, length: int, dtype: torch.dtype) -> torch.Tensor:
    """Bound of each element of a product, as float64.

    `exact` and `magnitude` are float64 tensors of one shape: the exact values and the sums of |a_i||b_i|; `length` is
    the number of products in each sum.
    """
    gamma = LAMBDA * length**0.5 * ACCUMULATOR
    return gamma * magnitude + ROUNDOFF[dtype] * exact.abs() + TINY[dtype]


def compare(got: torch.Tensor, exact: torch.Tensor, bound: torch.Tensor) -> Verdict:
    """Compare a result with the exact values; shapes must agree."""
    if got.shape != exact.shape:
        return Verdict(float("inf"), f"shape {tuple(got.shape)} instead of {tuple(exact.shape)}")
    found = got.detach().to("cpu", torch.float64)
    broken = ~torch.isfinite(found)
    if bool(broken.any()):
        return Verdict(float("inf"), f"{int(broken.sum())} of {found.numel()} values are not finite")
    share = (found - exact).abs() / bound
    worst = int(share.argmax())
    ratio = float(share.flatten()[worst])
    wrong = int((share > 1.0).sum())
    if not wrong:
        return Verdict(ratio, f"worst error {ratio:.3f} of its bound")
    place = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), found.shape))
    return Verdict(
        ratio,
        f"{wrong} of {found.numel()} values are wrong; the worst, at {place}: got {float(found.flatten()[worst]):.6g},"
        f" exact {float(exact.flatten()[worst]):.6g}, allowed error {float(bound.flatten()[worst]):.3g}",
    )
