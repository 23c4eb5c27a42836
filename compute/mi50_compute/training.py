"""The longer proof: a small convolutional network learns ten drawn digits on the device.

The blog trains on MNIST; its pictures would have to be fetched. These are drawn: seven-segment digits in 28 x 28
pixels, moved, scaled in brightness and covered with noise, so that a linear look-up does not do.
"""

from __future__ import annotations

import sys
import time

import torch

from mi50_compute.bounds import Verdict

# Segments a to g of each digit, as on a pocket calculator.
SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
# Rows and columns of each segment in a box of 16 x 10 pixels.
BOXES = {
    "a": (0, 2, 0, 10),
    "b": (0, 9, 8, 10),
    "c": (7, 16, 8, 10),
    "d": (14, 16, 0, 10),
    "e": (7, 16, 0, 2),
    "f": (0, 9, 0, 2),
    "g": (7, 9, 0, 10),
}
EPOCHS, BATCH, TRAIN, TEST = 6, 32, 2048, 512
ACCURACY = 0.95


def drawn_digits(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, float32 [count, 1, 28, 28], and their digits, int64 [count]; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=generator)
    rows = torch.randint(0, 13, (count,), generator=generator)
    columns = torch.randint(0, 19, (count,), generator=generator)
    bright = 0.6 + 0.4 * torch.rand(count, generator=generator)
    pictures = 0.25 * torch.rand((count, 1, 28, 28), generator=generator)
    for index in range(count):
        for segment in SEGMENTS[int(labels[index])]:
            top, bottom, left, right = BOXES[segment]
            row, column = int(rows[index]), int(columns[index])
            pictures[index, 0, row + top : row + bottom, column + left : column + right] += bright[index]
    return pictures, labels


def network() -> torch.nn.Module:
    """Two convolutions and two dense layers; the same weights each time."""
    torch.manual_seed(906)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def run(device: torch.device) -> Verdict:
    """Train and test; right when the accuracy on unseen pictures reaches ACCURACY. Prints a line an epoch to stderr."""
    pictures, labels = (tensor.to(device) for tensor in drawn_digits(TRAIN, 1))
    unseen, wanted = (tensor.to(device) for tensor in drawn_digits(TEST, 2))
    model = network().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_of = torch.nn.CrossEntropyLoss()
    started = time.monotonic()
    loss = torch.zeros(())
    for epoch in range(EPOCHS):
        order = torch.randperm(TRAIN, generator=torch.Generator().manual_seed(epoch)).to(device)
        for start in range(0, TRAIN, BATCH):
            chosen = order[start : start + BATCH]
            optimizer.zero_grad()
            loss = loss_of(model(pictures[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
        print(
            f"epoch {epoch + 1}/{EPOCHS}: loss {float(loss):.4f}, {time.monotonic() - started:.1f} s", file=sys.stderr
        )
    with torch.no_grad():
        accuracy = float((model(unseen).argmax(dim=1) == wanted).float().mean())
    # As everywhere: above 1 is wrong.
    return Verdict(
        (1 - accuracy) / (1 - ACCURACY), f"{accuracy:.1%} of {TEST} unseen digits right (at least {ACCURACY:.0%})"
    )
