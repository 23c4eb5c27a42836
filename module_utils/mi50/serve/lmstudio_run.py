"""Runs LM Studio's headless daemon behind the door. Runs on the node, with `door` alone beside it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from .door import Behind, Config, Trouble, say, stand


class Daemon(Behind):
    """LM Studio's daemon, by its command line."""

    title = "LM Studio"

    def __init__(self, config: Config) -> None:
        """Nothing is started yet."""
        super().__init__(config)
        self._home = Path(os.environ["HOME"])
        self._lms = self._home / ".lmstudio/bin/lms"

    def steps(self) -> Sequence[tuple[str, Callable[[], object]]]:
        """From nothing to a loaded model."""
        port = str(self.config["inner_port"])
        return (
            ("unpacking LM Studio", self._bootstrap),
            ("starting the daemon", lambda: self.lms("daemon", "up")),
            ("choosing the runtime", self._runtime),
            ("looking for the card", self._survey),
            ("importing the model", self._import),
            ("loading the model", self._load),
            ("starting the server", lambda: self.lms("server", "start", "--port", port)),
        )

    def lms(self, *words: str, seconds: float = 300.0) -> str:
        """Run `lms`; returns what it printed. Raises Trouble."""
        return self._run([str(self._lms), *words], seconds)

    def down(self) -> None:
        """Stop it, as far as it lets itself be stopped."""
        for words in (("server", "stop"), ("daemon", "down")):
            try:
                self.lms(*words, seconds=20)
            except Trouble as trouble:
                say(str(trouble))

    def _bootstrap(self) -> None:
        """Have `lms` of this very version; another one may have been here before."""
        marker = self._home / ".lmstudio/mi50-version"
        wanted = str(self.config["llmster"])
        if self._lms.exists() and marker.is_file() and marker.read_text(encoding="utf-8") == wanted:
            return
        self._run([wanted, "bootstrap"], 600)
        if not self._lms.exists():
            raise Trouble(f"`llmster bootstrap` did not make {self._lms}")
        marker.write_text(wanted, encoding="utf-8")

    def _runtime(self) -> None:
        wanted = str(self.config["runtime"])
        listed = self.lms("runtime", "ls")
        names = [line.split()[0] for line in listed.splitlines() if line.startswith(wanted)]
        if not names:
            have = ", ".join(line.split()[0] for line in listed.splitlines() if "@" in line) or "none"
            raise Trouble(f"the runtime {wanted} is not installed (there is: {have})")
        # By its whole name: an alias that fits several versions is refused.
        self.lms("runtime", "select", names[0])
        say(f"runtime: {names[0]}")

    def _survey(self) -> None:
        try:
            found = json.loads(self.lms("runtime", "survey", "--refresh", "--json"))
            gpus = [
                gpu for engine in found["engines"] for gpu in engine["hardwareSurvey"]["gpuSurveyResult"]["gpuInfo"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise Trouble(f"`lms runtime survey` said something else than expected ({error})") from error
        memory = "dedicatedMemoryCapacityBytes"
        seen = [{"name": gpu["name"], "memory": gpu.get(memory) or gpu.get("totalMemoryCapacityBytes")} for gpu in gpus]
        say(f"devices: {json.dumps(seen)}")

    def _import(self) -> None:
        """Link the model's files, so that all engines share one copy."""
        folder = self._home / ".lmstudio/models" / self.config["repository"]
        for file in filter(None, (self.config["model"], self.config["mmproj"])):
            link = folder / Path(file).name
            if link.is_symlink() and str(link.readlink()) != file:
                link.unlink()
            if not link.exists():
                self.lms("import", "--user-repo", self.config["repository"], "-y", "-l", file)

    def _load(self) -> None:
        config = self.config
        name = f"{config['repository']}/{Path(config['model']).name}"
        self.lms("unload", "--all")
        words = ["load", name, "--exact", "-y", "--gpu", str(config["gpu"]), "-c", str(config["context"])]
        words += ["--parallel", str(config["parallel"]), "--identifier", str(config["identifier"])]
        self.lms(*words, seconds=float(config["load_timeout"]))

    def _run(self, argv: Sequence[str], seconds: float) -> str:
        name = " ".join([Path(argv[0]).name, *argv[1:]])
        # Files, not pipes: the daemon inherits them, and a pipe would end with it alone.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            try:
                # pylint: disable-next=ansible-bad-function
                done = subprocess.run(
                    argv, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, check=False, timeout=seconds
                )
            except subprocess.TimeoutExpired as error:
                raise Trouble(f"`{name}` did not end within {seconds:.0f} s") from error
            except OSError as error:
                raise Trouble(f"`{name}` cannot be started: {error.strerror}") from error
            said, complaint = (_text(stream) for stream in (out, errors))
        if done.returncode != 0:
            raise Trouble(f"`{name}` failed ({done.returncode}): {' '.join((complaint or said).split())[-400:]}")
        return said


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def main(arguments: Sequence[str]) -> int:
    """Bring everything up and watch; returns the exit code."""
    return stand(arguments, Daemon)
