"""`run`: one process, one lock, a cycle a second, and full speed on every way out."""

from __future__ import annotations

import os
import signal
import sys

from . import files, rivals
from .commands import Commands
from .config import Config, ConfigError, load
from .engine import AGAIN_SECONDS, Engine
from .journal import ERR, INFO, NOTICE, WARNING, Journal
from .notify import Notifier
from .publish import Publisher, take_up
from .sysfs import Clock, Sysfs
from .workers import Pool, quiet_threads

LEFT, NOT_VERIFIED, REFUSED, LOCKED, RIVAL = range(5)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LEAVE_TRIES = 3


class Daemon:
    """What `run` does between its start and its end."""

    def __init__(self, path: str, sysfs_root: str, proc_root: str) -> None:
        """Nothing is touched yet."""
        self.path = path
        self.proc_root = proc_root
        self.io = Sysfs(sysfs_root)
        self.clock = Clock()
        self.journal = Journal()
        self.notifier = Notifier()

    def run(self) -> int:
        """The exit code: 0 left with full speed verified, 1 not verified, 2 refused, 3 lock held, 4 rival."""
        # Threads inherit the mask, so that a signal is taken by the main loop alone, between two cycles.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if not os.isatty(2):
            os.set_blocking(2, False)  # a journal that has stopped must not stop the loop
        quiet_threads()
        try:
            config = load(self.path)
        except ConfigError as error:
            for problem in error.problems:
                self.journal.say(ERR, "CONFIG_REFUSED", self.path, problem)
            return REFUSED
        found = rivals.running(self.proc_root)
        if found:
            text = f"{', '.join(found)} runs and writes to fans too; stop and mask it"
            self.journal.say(ERR, "RIVAL_RUNNING", "start", text)
            return RIVAL
        try:
            os.makedirs(config.runtime, exist_ok=True)
            lock = files.take_lock(f"{config.runtime}/lock", self.proc_root)
        except files.LockHeld as error:
            self.journal.say(ERR, "LOCKED", "start", f"{error}; only one process may write to the fans")
            return LOCKED
        except OSError as error:
            self.journal.say(ERR, "STATE_FAILED", config.runtime, str(error))
            return REFUSED
        try:
            return self._control(config)
        finally:
            os.close(lock)

    def _control(self, config: Config) -> int:
        engine = Engine(config, self.io, self.clock, Pool(self.clock), self.journal, Commands())
        engine.rivals = lambda: rivals.running(self.proc_root)
        self._announce(config)
        try:
            publisher = Publisher(engine, config.runtime)
            take_up(engine, config.runtime)
            self._loop(engine, publisher)
        except BaseException as error:
            self.journal.say(ERR, "CRASHED", "daemon", f"{type(error).__name__}: {error}")
            self._leave(engine)
            return NOT_VERIFIED
        return LEFT if self._leave(engine) else NOT_VERIFIED

    def _announce(self, config: Config) -> None:
        for warning in config.warnings:
            self.journal.say(WARNING, "CONFIG", self.path, warning)
        self._list_channels(config)

    def _list_channels(self, config: Config) -> None:
        try:
            files.replace(f"{config.runtime}/channels", config.channel_list())
        except OSError as error:
            self.journal.say(WARNING, "STATE_FAILED", "channels", str(error.strerror))

    def _loop(self, engine: Engine, publisher: Publisher) -> None:
        ready, word = False, "ok"
        due = self.clock.monotonic()
        while True:
            healthy = engine.cycle()
            word = self._publish(publisher, healthy, word)
            if not ready:
                ready = True
                self.notifier.send("READY=1", f"STATUS={word}")
                self.journal.say(INFO, "STARTED", "daemon", f"{len(engine.cards)} cards, {len(engine.blowers)} blowers")
            if engine.cycles % 10 == 0:
                self.notifier.send(f"STATUS={self._line(engine, word)}")
            # Last statement of a cycle: whatever hangs or fails above keeps the watchdog hungry.
            if healthy:
                self.notifier.send("WATCHDOG=1")
            due = max(due + engine.config.interval, self.clock.monotonic())
            if self._rest(engine, due):
                return

    def _publish(self, publisher: Publisher, healthy: bool, before: str) -> str:
        """Tell others; whatever goes wrong there is no business of the blowers."""
        try:
            return publisher.publish(healthy)
        except Exception as error:
            self.journal.event(self.clock.monotonic(), "STATE_FAILED", "publish", f"{type(error).__name__}: {error}")
            return before

    def _rest(self, engine: Engine, due: float) -> bool:
        """Sleep until the next cycle; whether the daemon shall leave."""
        while True:
            seconds = due - self.clock.monotonic()
            if seconds <= 0:
                return False
            step = min(seconds, AGAIN_SECONDS) if engine.restless() else seconds
            received = signal.sigtimedwait(SIGNALS, step)
            if received is None:
                if step == seconds:
                    return False
                engine.again()
                continue
            if received.si_signo != signal.SIGHUP:
                return True
            self._reload(engine)

    @staticmethod
    def _line(engine: Engine, word: str) -> str:
        fans = ", ".join(f"{b.config.name} {b.duty:.0f} %" for b in engine.blowers.values() if b.config.controlled)
        hottest = max((s.temp or 0.0 for c in engine.cards.values() for s in c.sensors.values()), default=0.0)
        return f"{word}: {fans}; hottest {hottest:.0f} °C"

    def _reload(self, engine: Engine) -> None:
        """Take a new file if it is good and drops nothing that is in an emergency."""
        now = self.clock.monotonic()
        stamp = int(now * 1e6)
        self.notifier.send("RELOADING=1", f"MONOTONIC_USEC={stamp}")
        try:
            config = load(self.path)
            dropped = engine.dropped(config)
            if dropped:
                raise ConfigError([f"{name}: has an active emergency and is not in the new file" for name in dropped])
        except ConfigError as error:
            for problem in error.problems:
                self.journal.event(now, "RELOAD_REFUSED", self.path, f"{problem}; the old settings stay", ERR)
        else:
            if config.runtime != engine.config.runtime:
                self.journal.say(WARNING, "CONFIG", self.path, "paths.runtime takes effect at the next start")
                config.runtime = engine.config.runtime
            left = engine.abandon(config)
            for name in left:
                self.journal.event(now, "WRITE_FAILED", name, "dropped from the file, full speed not verified", ERR)
            engine.adopt(config)
            self._announce(config)
            self.journal.event(now, "RELOADED", self.path, "new settings in force", NOTICE)
        self.notifier.send("READY=1")

    def _leave(self, engine: Engine) -> bool:
        """Full speed, read back; whether that is proven for every owned channel."""
        self.notifier.send("STOPPING=1", "STATUS=leaving at full speed")
        left: list[str] = []
        for number in range(LEAVE_TRIES):
            try:
                left = engine.leave(mode=number > 0)
            except Exception as error:
                left = [f"{type(error).__name__}: {error}"]
            if not left:
                self.journal.say(INFO, "LEFT", "daemon", "every owned channel at full speed, read back")
                return True
        self.journal.say(ERR, "LEFT", "daemon", f"full speed not verified: {', '.join(left)}")
        return False


def run(path: str, sysfs_root: str, proc_root: str) -> int:
    """Run the daemon; a worker that hangs in the kernel must not keep the process from ending."""
    code = Daemon(path, sysfs_root, proc_root).run()
    sys.stdout.flush()
    os._exit(code)
