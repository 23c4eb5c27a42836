"""Waits until a started service has shown that it answers on the GPU, and says how far it is meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import gpus as cards
from . import probe, systemd
from .model import Device, Gpu, Node, NotReady, Proof
from .probe import Answer, Fault

GIB = 1 << 30
_POLL = 1.0
_RESTARTS = 2  # a unit that systemd has started anew this often will not come up
_SOFTWARE = re.compile(r"llvmpipe|lavapipe|softpipe|swiftshader|\bCPU\b", re.IGNORECASE)
Devices = Callable[[str, Node], "list[Device] | None"]
_HINTS = (
    (r"ErrorOutOfDeviceMemory|out of memory|OutOfMemory", "the card's memory is not enough: a shorter context, a "
     "smaller model or a smaller KV type; see also what else uses the card"),
    (r"[Pp]ermission denied.*(/dev/dri|/dev/kfd)|Unable to open /dev/kfd", "the service's user may not open the GPU: "
     "is it in the groups that own /dev/dri/renderD* and /dev/kfd?"),
    (r"[Aa]ddress already in use|couldn't bind", "the port is taken by another program"),
)  # fmt: skip


def wait(config: Mapping[str, Any], node: Node, *, devices: Devices, before: int, hints: Sequence[tuple[str, str]] = (),
         gpus: Sequence[Gpu] = (), small_bar: bool = False) -> Proof:  # fmt: skip
    """Wait for the first completion and judge where it came from.

    `config` is the health program's; `before` the VRAM in use before the start. Raises NotReady with the reason, what
    to do where it is known, and the end of the log.
    """
    name, begin, said = config["unit"], node.clock(), ""
    before_us = systemd.state(name, node).restarts
    while True:
        state = systemd.state(name, node)
        # Starts of weeks ago count as nothing; systemd begins anew with a start that was asked for.
        before_us = min(before_us, state.restarts)
        ended = state.restarts - before_us
        if state.active in ("failed", "inactive") or ended >= _RESTARTS:
            how = "systemd gave up" if state.active == "failed" else "it ended"
            how += f" and was started anew {ended} times" if ended else ""
            raise NotReady(_explain(f"{name} does not stay up ({how})", name, node, hints))
        try:
            probe.live(config)
            probe.loaded(config)
            answer = probe.complete(config, probe.READY_TOKENS)
            break
        except Fault as fault:
            seconds = node.clock() - begin
            if fault.state == "refused" or seconds > config["load_timeout"]:
                text = f"{name} did not answer within {seconds:.0f} s: {fault}"
                raise NotReady(_explain(text, name, node, hints)) from fault
            text = progress(config, fault, before)
            if text != said:
                node.say(f"{text}, {seconds:.0f} s")
                said = text
        node.sleep(_POLL)
    state = systemd.state(name, node)
    found = devices(systemd.log(state, name, node), node)
    judge(found, gpus, config, small_bar=small_bar)
    after = probe.vram(config)
    _on_gpu(config, answer, before, name, node)
    return Proof(
        round(node.clock() - begin, 1),
        answer.tokens,
        round(answer.speed, 2),
        before,
        after,
        tuple(found or ()),
        answer.text,
    )


def progress(config: Mapping[str, Any], fault: Fault, before: int) -> str:
    """One line on how far a start is."""
    if config["software"] or not config["expected_vram"]:
        return str(fault)
    now, total = max(0, probe.vram(config) - before), int(config["expected_vram"])
    share = min(99, 100 * now // total)
    return f"loading, {now / GIB:.1f} of {total / GIB:.1f} GiB in VRAM ({share} %)"


def judge(found: list[Device] | None, gpus: Sequence[Gpu], config: Mapping[str, Any], *, small_bar: bool) -> None:
    """Refuse devices that are not the chosen cards, or only a part of them. Raises NotReady.

    `found` None: the engine does not tell. A software device passes when it is allowed, and then alone.
    """
    if found is None or config["software"]:
        return
    if not found:
        raise NotReady(f"{config['name']} found no GPU and would compute on the CPU. {_no_device(config)}")
    chosen = {gpu.pci: gpu for gpu in gpus}
    for number, device in enumerate(found):
        if _SOFTWARE.search(device.name):
            raise NotReady(
                f"{config['name']} would compute in software, on {device.name!r}: the Vulkan loader found no driver "
                f"that can open the card. {_no_device(config)}"
            )
        if config["device"] and config["device"].lower() not in device.name.lower():
            raise NotReady(
                f"{config['name']} would compute on {device.name!r}, whose name does not contain {config['device']!r}: "
                f"not the chosen card ({', '.join(chosen) or 'none'})"
            )
        if device.pci and device.pci not in chosen:
            raise NotReady(f"{config['name']} would compute on {device.pci}, which is none of {', '.join(chosen)}")
        gpu = chosen.get(device.pci) or (gpus[number] if len(gpus) == len(found) else None)
        less = cards.reported_less(gpu, device.memory) if gpu and not small_bar else ""
        if less:
            raise NotReady(f"{less} ({config['name']}_allow_small_bar: true accepts it)")


def _no_device(config: Mapping[str, Any]) -> str:
    return (
        "Check that mesa-vulkan-drivers (RADV) is installed, that the service's user is in the groups of "
        f"/dev/dri/renderD*, and that amdgpu drives the card; {config['name']}_allow_software: true would allow it, "
        "at a hundredth of the speed"
    )


def _on_gpu(config: Mapping[str, Any], answer: Answer, before: int, name: str, node: Node) -> None:
    try:
        probe.on_gpu(config, answer, before)
    except Fault as fault:
        raise NotReady(_explain(str(fault), name, node, ())) from fault


def _explain(text: str, name: str, node: Node, hints: Sequence[tuple[str, str]]) -> str:
    """The reason, a known way out, the end of the log."""
    log = systemd.last_words(name, node, 40)
    pieces = log.split(" | ")
    found = [(say, piece) for pattern, say in (*hints, *_HINTS) for piece in pieces if re.search(pattern, piece)]
    known = f" It said: {found[0][1][-300:]}. Perhaps {found[0][0]}." if found else ""
    return f"{text}.{known} Its log ends: {log[-900:]}"
