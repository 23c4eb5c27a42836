"""One running virtual machine: boot, talk to its agent, snapshot, go back, stop."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.console import run, step
from lab.settings import LabError
from lab.vm.build import QEMU, Image

# Where the cards sit on the emulated PCI bus.
CARDS = ("0000:00:10.0", "0000:00:11.0")
MEMORY_MB = 640
BOOT_SECONDS = 240
CALL_SECONDS = 400
# How the machine's clock runs (MI50_VM_CLOCK). counted: by instructions, 2 ns each, and waiting costs no time outside:
# what is measured inside does not depend on what else this computer does. real: two processors, time as it is.
CLOCKS = {
    "counted": ("-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off", "-smp", "1"),
    "real": ("-accel", "tcg,thread=multi", "-smp", "2"),
}
APPEND = (
    "root=/dev/vda rw console=ttyS0 quiet panic=1 mitigations=off apparmor=0 audit=0 nokaslr random.trust_cpu=on"
    " systemd.show_status=0 systemd.machine_id=00112233445566778899aabbccddeeff"
)


BOOTED = "booted"


def clock() -> str:
    """The clock that MI50_VM_CLOCK asks for; raises LabError when there is no such clock."""
    wanted = os.environ.get("MI50_VM_CLOCK") or "counted"
    if wanted not in CLOCKS:
        raise LabError(f"MI50_VM_CLOCK is {wanted!r}: give one of {', '.join(CLOCKS)}")
    return wanted


class AgentError(Exception):
    """The agent could not do it; `errno` where the kernel said why."""

    def __init__(self, text: str, errno: int | None = None) -> None:
        """Keep the errno beside the text."""
        super().__init__(text)
        self.errno = errno


class _Line:
    """A Unix socket that carries one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.waiting = b""

    def send(self, message: object) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next object; raises LabError when none comes in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.waiting:
            ready, _, _ = select.select([self.socket], [], [], max(0.0, deadline - time.monotonic()))
            piece = self.socket.recv(1 << 16) if ready else b""
            if not piece:
                raise LabError("the virtual machine hung up" if ready else f"no answer within {seconds:.0f} s")
            self.waiting += piece
        line, self.waiting = self.waiting.split(b"\n", 1)
        found: dict[str, Any] = json.loads(line)
        return found


class Machine:
    """A machine with a disk overlay of its own. Its time stands still between calls."""

    def __init__(self, image: Image, *, disk: Path | None = None, console: Path | None = None) -> None:
        """Prepare a machine: one that boots, or one that goes on from the state BOOTED in a disk that `keep` made.

        `console` receives what its kernel says. Raises LabError for an unknown MI50_VM_CLOCK.
        """
        self.image = image
        self.clock = clock()
        self._kept = disk
        self.folder = Path(tempfile.mkdtemp(prefix="mi50-vm-"))
        self.console = console or self.folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: _Line | None = None
        self._monitor: _Line | None = None

    def __enter__(self) -> Machine:
        """Boot."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Stop, whatever happened."""
        self.stop()

    def _command(self) -> list[str]:
        cards = itertools.chain.from_iterable(("-device", f"pci-testdev,addr={pci[8:10]}.0") for pci in CARDS)
        go_on = ("-S", "-loadvm", BOOTED) if self._kept else ()
        return [
            *(QEMU, *CLOCKS[self.clock], "-machine", "pc", "-cpu", "max", "-m", str(MEMORY_MB)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-rtc", "clock=vm"),
            *("-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", APPEND),
            *("-drive", f"file={self.disk},format=qcow2,if=none,id=root,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=root"),
            *("-serial", f"file:{self.console}"),
            *(
                "-device",
                "virtio-serial-pci",
                "-chardev",
                f"socket,id=agent,path={self.folder}/agent,server=on,wait=off",
            ),
            *("-device", "virtserialport,chardev=agent,name=mi50.agent"),
            *("-qmp", f"unix:{self.folder}/monitor,server=on,wait=off"),
            *cards,
            *go_on,
        ]

    def start(self) -> None:
        """Boot and wait for the agent; raises LabError with the end of the console when it does not come."""
        if self._kept:
            shutil.copyfile(self._kept, self.disk)
        else:
            run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self.image.root), "-F", "raw", str(self.disk)])
        with step("Going on with the booted virtual machine" if self._kept else "Booting the virtual machine"):
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "qemu.log").open("wb"),
                env={"TMPDIR": str(self.folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
            self._agent = self._connect("agent")
            self._monitor = self._connect("monitor")
            self._monitor.receive(10)
            self._ask("qmp_capabilities")
            if not self._kept:
                self._hello()

    @property
    def disk(self) -> Path:
        """The overlay of the image's disk that this machine writes."""
        return self.folder / "disk.qcow2"

    def keep(self, target: Path) -> None:
        """Remember the state as BOOTED, end the machine, and leave its disk as `target`."""
        self.save(BOOTED)
        self._quit()
        shutil.move(self.disk, target)

    def _connect(self, name: str) -> _Line:
        deadline = time.monotonic() + 20
        while True:
            try:
                return _Line(self.folder / name)
            except OSError:
                if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                    raise LabError(f"QEMU did not start: {(self.folder / 'qemu.log').read_text()}") from None
                time.sleep(0.05)

    def _hello(self) -> None:
        """Wait until the agent says that the hardware is there: after a boot, or a reboot."""
        try:
            self._line().receive(BOOT_SECONDS)
        except LabError as exc:
            raise LabError(f"{exc}; the console's end:\n{self.console_tail()}") from exc
        self._ask("stop")

    def reboot(self) -> None:
        """Reboot as `systemctl reboot` does, and wait until the agent is back; the disk keeps what was written."""
        self._line().send({"call": "run", "list": [["systemctl", "reboot"]]})
        with step("Rebooting the virtual machine"):
            self._ask("cont")
            # The answer to the call, or nothing when the agent was faster gone; then the greeting of the next one.
            while self._line().receive(BOOT_SECONDS).get("result") != "hello":
                pass
            self._ask("stop")

    def console_tail(self) -> str:
        """The last lines of the serial console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(text.splitlines()[-25:])

    def _line(self) -> _Line:
        if self._agent is None:
            raise LabError("the virtual machine is not running")
        return self._agent

    def call(self, name: str, *arguments: object, **named: object) -> Any:  # noqa: ANN401 - whatever the call returns
        """Let the agent do something; raises AgentError when it could not."""
        line = self._line()
        self._ask("cont")
        try:
            line.send({"call": name, "list": arguments, "args": named})
            answer = line.receive(CALL_SECONDS)
        finally:
            self._ask("stop")
        if "error" in answer:
            raise AgentError(f"{name}: {answer['error']}", answer.get("errno"))
        return answer["result"]

    def run(self, *argv: str, timeout: float = 60.0, check: bool = True, data: str = "") -> str:
        """Run a command in the machine: its stdout; raises AgentError when it fails and `check` is set."""
        done = self.call("run", list(argv), timeout=timeout, data=data)
        if check and done["code"] != 0:
            raise AgentError(f"{' '.join(argv)} ended with {done['code']}: {done['err'] or done['out']}")
        return str(done["out"])

    def code(self, *argv: str, timeout: float = 60.0) -> int:
        """Run a command in the machine: its exit code."""
        return int(self.call("run", list(argv), timeout=timeout)["code"])

    def put(self, files: Mapping[str, str | bytes | Path], *, executable: frozenset[str] = frozenset()) -> None:
        """Write files by absolute path, contents or local file or local folder, with one call."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
            for path, content in files.items():
                for name, data in _contents(path.lstrip("/"), content):
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(data), 0o755 if f"/{name}" in executable else 0o644
                    tar.addfile(entry, io.BytesIO(data))
        self.call("unpack", base64.b64encode(buffer.getvalue()).decode())

    def _ask(self, name: str, **arguments: object) -> str:
        """One command to QEMU itself; what it returned, as text."""
        if self._monitor is None:
            raise LabError("the virtual machine is not running")
        self._monitor.send({"execute": name, "arguments": arguments})
        while True:
            message = self._monitor.receive(CALL_SECONDS)
            if "error" in message:
                raise LabError(f"QEMU: {name}: {message['error']['desc']}")
            if "return" in message:
                return str(message["return"] or "")

    def _human(self, command: str) -> None:
        said = self._ask("human-monitor-command", **{"command-line": command}).strip()
        if said:
            raise LabError(f"QEMU: {command}: {said}")

    def save(self, name: str) -> None:
        """Remember the whole state: memory, devices, disk."""
        self._human(f"savevm {name}")

    def restore(self, name: str) -> None:
        """Go back to a remembered state."""
        self._human(f"loadvm {name}")

    def _quit(self) -> None:
        for line in (self._agent, self._monitor):
            if line is not None:
                line.socket.close()
        self._agent = self._monitor = None
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End QEMU and remove what it wrote."""
        self._quit()
        shutil.rmtree(self.folder, ignore_errors=True)


def _contents(name: str, content: str | bytes | Path) -> list[tuple[str, bytes]]:
    if isinstance(content, str):
        return [(name, content.encode())]
    if isinstance(content, bytes):
        return [(name, content)]
    if content.is_file():
        return [(name, content.read_bytes())]
    files = [path for path in sorted(content.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return [(f"{name}/{path.relative_to(content)}", path.read_bytes()) for path in files]
