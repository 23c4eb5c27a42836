"""What the runner of a host's measurements needs of the host, and what can go wrong with it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from .definition import Step
from .plan import Choice


class NodeProblem(Exception):
    """A call failed; the text says why."""


class NodeLost(Exception):
    """The host cannot be reached."""


class Limits(NamedTuple):
    """Seconds: for a server to be ready, for VRAM to be given back, between two looks, for a host to be away."""

    start: float
    settle: float
    poll: float
    lost: float


class Order(NamedTuple):
    """What is measured on a host."""

    steps: list[Step]
    suite: dict[str, Any]
    choice: Choice
    common: dict[str, Any]
    stop_units: tuple[str, ...] = ()


class Node(Protocol):
    """A host. All calls but `say` raise NodeProblem and NodeLost."""

    limits: Limits

    def say(self, text: str) -> None:
        """Show a line."""

    def node(self, action: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - a module's arguments
        """Call benchmark_node."""

    def benchmark(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call llm_benchmark and wait for it."""

    def begin(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Start llm_benchmark detached."""

    def peek(self, job: dict[str, Any]) -> tuple[str, str]:
        """Return the progress file and the beginning of the job's own file; empty when unreachable."""

    def poll(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """Return the result of a detached call, or None."""

    def pictures(self) -> dict[str, tuple[str, bytes]]:
        """Return digest and content of the suite's pictures."""

    def put(self, name: str, data: bytes) -> None:
        """Write a picture."""

    def collect(self) -> None:
        """Bring new files to the controller."""
