"""Runs inside the machine: sets up its hardware and does what the test says, one JSON object a line over a serial port.

A request is `{"call": name, "args": {...}}`, an answer `{"result": ...}` or `{"error": text}`.
"""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.vm.agent.chips import KINDS
from lab.vm.agent.plant import DEBUG, Plant

PORT = "mi50.agent"
GPU = Path("/sys/kernel/debug/standin_amdgpu")
PLANT = Plant()
BUS_DEVICES = Path("/sys/devices/platform")


def modprobe(*names: str) -> None:
    """Load modules."""
    subprocess.run(["modprobe", "-a", *names], check=True, timeout=60)


def adapter(bus: int) -> Path:
    """The i2c adapter of a stand-in bus, whatever number the kernel gave it."""
    return next((BUS_DEVICES / f"standin_smbus.{bus}").glob("i2c-*"))


def add_chip(bus: int, kind: str, bind: bool = True) -> str:
    """Put a fresh chip on a bus and tell the kernel; return its name for the other calls."""
    chip = PLANT.add(bus, kind)
    PLANT.tick()
    if bind:
        bind_chip(bus, kind)
    return chip.name


def bind_chip(bus: int, kind: str) -> str:
    """Make the i2c device; return the hwmon that it got."""
    (adapter(bus) / "new_device").write_text(f"{kind} {KINDS[kind].address:#x}\n")
    return hwmon_of(bus, kind)


def unbind_chip(bus: int, kind: str) -> None:
    """Take the i2c device away, as unloading the driver or pulling the board does."""
    (adapter(bus) / "delete_device").write_text(f"{KINDS[kind].address:#x}\n")


def hwmon_of(bus: int, kind: str) -> str:
    """Name of the hwmon of a chip; raises StopIteration when it has none."""
    device = next(adapter(bus).glob(f"*-{KINDS[kind].address:04x}"))
    return next((device / "hwmon").iterdir()).name


def device_of(bus: int, kind: str) -> str:
    """Path of a chip's device below /sys."""
    device = next(adapter(bus).glob(f"*-{KINDS[kind].address:04x}"))
    return str(device.resolve().relative_to("/sys"))


def attribute(bus: int, kind: str, name: str) -> str:
    """Full path of a chip's attribute, below its hwmon or below its device."""
    own = Path("/sys/class/hwmon") / hwmon_of(bus, kind)
    return str(next(path for path in (own / name, own / "device" / name) if path.exists()))


def chip_set(chip: str, **values: int) -> float:
    """Set files of a chip (read_error, write_error, lose_writes, delay_ms, hang, present, writes); the guest's time."""
    for name, value in values.items():
        (DEBUG / chip / name).write_text(str(value))
    return time.monotonic()


def chip_get(chip: str, name: str) -> int:
    """One file of a chip."""
    text = (DEBUG / chip / name).read_text().strip()
    return {"Y": 1, "N": 0}.get(text) if text in {"Y", "N"} else int(text, 0)  # type: ignore[return-value]


def chip_registers(chip: str) -> str:
    """The register file, in hex."""
    return PLANT.chips[chip].registers().hex()


def chip_poke(chip: str, values: dict[str, int]) -> float:
    """Change registers behind the driver; the guest's time."""
    PLANT.chips[chip].poke({int(register): value for register, value in values.items()})
    return time.monotonic()


def chip_play(chip: str, stalled: list[int] | None = None, fight: float | None = None) -> float:
    """Let blowers stand still, or firmware take the channels back every so many seconds; the guest's time."""
    one = PLANT.chips[chip]
    if stalled is not None:
        one.stalled = set(stalled)
    if fight is not None:
        one.fight, one.next_fight = fight, 0.0
    return time.monotonic()


def take_back(chip: str) -> float:
    """Firmware takes all channels of a chip back, once; the guest's time."""
    one = PLANT.chips[chip]
    one.poke(one.kind.take_back(one.registers()))
    return time.monotonic()


def duties(chip: str) -> dict[int, int]:
    """Effective duties of the channels now."""
    one = PLANT.chips[chip]
    registers = one.registers()
    return {channel + 1: one.kind.effective(registers, channel) for channel in range(one.kind.channels)}


def gpu_set(pci: str, **values: int) -> float:
    """Set files of a card (edge, junction, mem in m°C, power in µW, error, hang, ...); the guest's time."""
    for name, value in values.items():
        (GPU / pci / name).write_text(str(value))
    return time.monotonic()


def gpu_get(pci: str, name: str) -> int:
    """One file of a card."""
    return int((GPU / pci / name).read_text().strip(), 0)


def history(since: float) -> list[tuple[float, str, int, int]]:
    """Changes of effective duties since a guest's time."""
    PLANT.tick()
    return PLANT.history(since)


def now() -> float:
    """The guest's monotonic clock."""
    return time.monotonic()


def sleep(seconds: float) -> float:
    """Let time pass; the guest's time afterwards."""
    time.sleep(seconds)
    return time.monotonic()


def run(argv: list[str], timeout: float = 60.0, data: str = "") -> dict[str, Any]:
    """Run a command: code, stdout, stderr; code 124 after the timeout."""
    try:
        done = subprocess.run(
            argv, check=False, input=data, capture_output=True, text=True, errors="replace", timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return {"code": 124, "out": "", "err": f"no end after {timeout} s"}
    except OSError as exc:
        return {"code": 127, "out": "", "err": str(exc)}
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def read(path: str) -> str:
    """A file's text; errors name the errno."""
    return Path(path).read_text(errors="replace")


def write(path: str, text: str) -> float:
    """Write an existing attribute or a file as one write(2); the guest's time afterwards."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)
    return time.monotonic()


def unpack(archive: str) -> None:
    """Unpack a tar file (base64) at the root."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive))) as tar:
        tar.extractall("/")  # noqa: S202 - made by the test itself


def ticks() -> list[float]:
    """How often the plant was played, and when it is now."""
    return [PLANT.ticks, time.monotonic()]


CALLS: dict[str, Callable[..., Any]] = {
    call.__name__: call
    for call in (
        *(
            add_chip,
            bind_chip,
            unbind_chip,
            hwmon_of,
            device_of,
            attribute,
            chip_set,
            chip_get,
            chip_registers,
            chip_poke,
        ),
        *(
            chip_play,
            take_back,
            duties,
            gpu_set,
            gpu_get,
            history,
            now,
            run,
            sleep,
            read,
            write,
            unpack,
            ticks,
            modprobe,
        ),
    )
}


def answer(line: str) -> dict[str, Any]:
    """Do one request."""
    try:
        request = json.loads(line)
        return {"result": CALLS[request["call"]](*request.get("list", []), **request.get("args", {}))}
    except StopIteration:
        return {"error": "StopIteration: nothing there"}
    except Exception as exc:
        return {"error": f"{type(exc).__name__}: {exc}", "errno": getattr(exc, "errno", None)}


def ready() -> None:
    """Tell systemd that the hardware is there."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", address.replace("@", "\0", 1) if address.startswith("@") else address)


def boot_chips() -> list[tuple[int, str]]:
    """Chips that are there from power-on: one a line of a file that a test may have left, `BUS KIND`."""
    try:
        lines = Path("/etc/vm-chips").read_text().split("\n")
    except FileNotFoundError:
        return []
    return [(int(line.split()[0]), line.split()[1]) for line in lines if line.strip()]


def main() -> None:
    """Hardware, then requests for ever."""
    modprobe("standin_smbus", "standin_amdgpu", "virtio_console", *(kind.module for kind in KINDS.values()))
    for bus, kind in boot_chips():
        add_chip(bus, kind)
    PLANT.start()
    ready()
    port = next(p for p in Path("/sys/class/virtio-ports").iterdir() if (p / "name").read_text().strip() == PORT)
    with Path(f"/dev/{port.name}").open("r+b", buffering=0) as stream:
        stream.write(b'{"result": "hello"}\n')
        waiting = b""
        while True:
            piece = stream.read(1 << 16)
            if not piece:  # nobody has the other end open
                time.sleep(0.05)
                continue
            waiting += piece
            while b"\n" in waiting:
                line, waiting = waiting.split(b"\n", 1)
                text = json.dumps(answer(line.decode())).encode() + b"\n"
                while text:
                    text = text[stream.write(text) or 0 :]


if __name__ == "__main__":
    main()
