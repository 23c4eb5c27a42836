"""Hands jobs to workers and takes the answers of this cycle, or late ones that are still fresh."""

from __future__ import annotations

from collections.abc import Callable

from .workers import Pool, Ticket

# An answer is good for so many intervals after its question: a slow bus is no dead one.
FRESH_INTERVALS = 2.2


class Desk:
    """Questions by key; one answer each."""

    def __init__(self, pool: Pool, interval: float) -> None:
        """`interval` in seconds."""
        self.pool = pool
        self.interval = interval
        self._tickets: dict[str, Ticket] = {}
        self._late: dict[str, Ticket] = {}

    def ask(self, key: str, job: Callable[[], object]) -> None:
        """Start a job, unless the last one of this key still runs."""
        before = self._tickets.pop(key, None)
        if before is not None and before.done:
            self._late[key] = before
        self._tickets[key] = self.pool.submit(key, job)

    def wait(self, keys: list[str], seconds: float) -> None:
        """Wait for the answers to these keys, all together no longer than so many seconds."""
        self.pool.wait(keys, seconds)

    def answer(self, key: str, now: float) -> object | None:
        """What the job returned, or None when there is no fresh answer. Raises what the job raised."""
        late = self._late.pop(key, None)
        ticket = self._tickets.get(key)
        if ticket is not None and ticket.done:
            del self._tickets[key]
        elif late is not None and now - late.submitted <= FRESH_INTERVALS * self.interval:
            ticket = late
        else:
            return None
        if ticket.error is not None:
            raise ticket.error
        return ticket.value

    def busy_for(self, key: str, now: float) -> float:
        """Seconds for which the key's job has been running; 0 when none runs."""
        ticket = self._tickets.get(key)
        return 0.0 if ticket is None or ticket.done else now - ticket.submitted
