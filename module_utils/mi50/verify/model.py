"""What was seen on a node that is said to be finished. No input or output here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """A line of a file that sets an environment variable for others."""

    file: str
    name: str
    value: str


class Listener(NamedTuple):
    """A TCP socket that accepts connections. `address` as people write it."""

    address: str
    port: int


class Card(NamedTuple):
    """The live values of one card. Temperatures in degrees Celsius by sensor (`edge`, `junction`, `mem`).

    `limits` are the driver's own critical temperatures; `errors` are uncorrectable memory errors, None when the driver
    does not count them; None for a value stands for a file that is missing or unreadable.
    """

    address: str
    temperatures: Mapping[str, float | None]
    limits: Mapping[str, float | None]
    errors: int | None
    vram_used: int | None


class Crash(NamedTuple):
    """What stands in the place of an answer when asking crashed; `text` as Check.found has it."""

    text: str


class Unread(Exception):
    """A part of the node could not be read; the text says what the reader stumbled over."""


class Seen(NamedTuple):
    """Everything the checks look at. `answers` are those of the roles' questions by module, or texts of refusals.

    `unmet` are packages with what they need and lack, None where there is no dpkg. `unread` are names of fields here
    whose reader crashed, with the text of its error; their values say nothing.
    """

    gfx906: tuple[str, ...]
    kfd_device: bool
    cards: tuple[Card, ...]
    kernel_log: tuple[str, ...] | None
    cmdline: str
    settings: tuple[Setting, ...]
    prefix: str
    link: str | None
    loader_dirs: tuple[str, ...]
    agents: tuple[str, ...] | None
    agents_error: str
    listeners: tuple[Listener, ...] | None
    unmet: tuple[str, ...] | None
    answers: Mapping[str, Mapping[str, Any] | str | Crash]
    unread: Mapping[str, str] = {}
