"""What of the node can be reached from elsewhere. Pure."""

from __future__ import annotations

from ..addresses import joined, loopback
from ..preflight.model import OK, SKIP, WARN, Check
from .model import Seen

# Ports on which this project's engines answer unless they are told otherwise, and those of the programs they stand for.
ENGINE_PORTS = {1234: "LM Studio", 8000: "vLLM", 8080: "llama.cpp", 8188: "ComfyUI", 11434: "ollama", 23333: "lmdeploy"}


def check_listeners(seen: Seen) -> Check:
    """No engine's port is open beyond this machine unless that was asked for: many have no key."""
    title = "Open ports"
    if seen.listeners is None:
        return Check("net.listen", title, SKIP, "the kernel does not show them here")
    found = [one for one in seen.listeners if one.port in ENGINE_PORTS and not loopback(one.address)]
    if not found:
        return Check("net.listen", title, OK, "no engine's port beyond this machine", "127.0.0.1")
    said = ", ".join(f"{joined(one.address, one.port)} ({ENGINE_PORTS[one.port]}'s port)" for one in found)
    remedy = (
        "Bind the engine to 127.0.0.1 and let others come through ssh or a proxy; where it is meant, keep its API key"
    )
    return Check("net.listen", title, WARN, said, "127.0.0.1", remedy)


NET_CHECKS = {"net.listen": check_listeners}
