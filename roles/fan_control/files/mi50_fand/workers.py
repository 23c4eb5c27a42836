"""Threads that touch hardware, one a device, so that a read that never returns costs that device alone."""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable

from .sysfs import Clock

# A thread runs a dozen small functions; the default of 8 MB would count against locked memory.
STACK_BYTES = 256 * 1024


class Ticket:
    """A job handed to a worker. `done` is set last, by the worker."""

    __slots__ = ("done", "error", "job", "submitted", "value")

    def __init__(self, job: Callable[[], object], submitted: float) -> None:
        """Keep the job and the monotonic time at which it was handed in, in seconds."""
        self.job = job
        self.submitted = submitted
        self.done = False
        self.value: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do the job and keep what it returned or raised."""
        try:
            self.value = self.job()
        except BaseException as error:
            self.error = error
        self.done = True


class Worker:
    """One thread and the ticket that it works on."""

    __slots__ = ("_finished", "_wake", "ticket")

    def __init__(self) -> None:
        """Start the thread."""
        self.ticket: Ticket | None = None
        self._wake = _thread.allocate_lock()
        self._finished = _thread.allocate_lock()
        self._wake.acquire()
        self._finished.acquire()
        _thread.start_new_thread(self._loop, ())

    def _loop(self) -> None:
        while True:
            self._wake.acquire()
            ticket = self.ticket
            if ticket is not None:
                ticket.run()
            self._finished.release()

    def start(self, ticket: Ticket) -> None:
        """Hand a ticket to an idle worker."""
        self.ticket = ticket
        self._wake.release()

    def wait(self, seconds: float) -> bool:
        """Whether the ticket is finished within so many seconds; afterwards the worker is idle."""
        if self.ticket is None:
            return True
        if not self._finished.acquire(timeout=max(0.0, seconds)):
            return False
        self.ticket = None
        return True


class Pool:
    """Workers by key. A key whose worker is still busy takes no new job: its late ticket is handed out instead."""

    def __init__(self, clock: Clock) -> None:
        """Threads are started at the first job of a key."""
        self.clock = clock
        self._workers: dict[str, Worker] = {}
        _thread.stack_size(STACK_BYTES)

    def submit(self, key: str, job: Callable[[], object]) -> Ticket:
        """Start a job, or return the ticket of the one that this key still works on."""
        worker = self._workers.get(key)
        if worker is None:
            worker = self._workers[key] = Worker()
        if not worker.wait(0) and worker.ticket is not None:
            return worker.ticket
        ticket = Ticket(job, self.clock.monotonic())
        worker.start(ticket)
        return ticket

    def wait(self, keys: list[str], seconds: float) -> None:
        """Wait until the jobs of these keys are finished, all together no longer than so many seconds."""
        deadline = self.clock.monotonic() + seconds
        for key in keys:
            worker = self._workers.get(key)
            if worker is not None:
                worker.wait(deadline - self.clock.monotonic())


def quiet_threads() -> None:
    """Keep worker threads from switching too eagerly: one cycle has a handful of hand-overs."""
    sys.setswitchinterval(0.05)
