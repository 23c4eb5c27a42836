"""What stands behind the stand-ins of engines: a real llama-server of the lab's tree, on the processor.

Replaces: the engines' own runners. Packed beside the stand-ins; `standin.json` says where the tree is.
Does not prove: anything about the engines themselves.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from pathlib import Path

PORT = 41350


def start(path: str, projector: str, alias: str, words: list[str]) -> subprocess.Popen[bytes] | None:
    """Start the llama-server and wait until it has the model; None when it ends instead."""
    tree = json.loads((Path(__file__).resolve().parent / "standin.json").read_text())["tree"]
    library = f"{tree}/usr/lib/x86_64-linux-gnu"
    argv = [f"{tree}/lib64/ld-linux-x86-64.so.2", "--library-path", f"{library}:{library}/llama:{tree}/usr/lib"]
    argv += [f"{tree}/usr/bin/llama-server", "-m", path, "--host", "127.0.0.1", "--port", str(PORT)]
    # One thread: with two, any other process of a machine of two cores makes them wait for each other.
    argv += ["-dev", "none", "-np", "1", "-t", "1", "--no-warmup", "--alias", alias, *words]
    argv += ["--mmproj", projector] if projector else []
    # Where this build looks for its backends.
    process = subprocess.Popen(argv, cwd=f"{library}/ggml/backends0", stdin=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(0.2)
        try:
            if ask("GET", "/health")[0] == 200:
                return process
        except OSError:
            continue
    return None


def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Ask it."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=300)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()
