"""Engines that are threads of this process, and the distribution's HAProxy before them, with the files of `render`."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mi50.gateway import admin, render
from mi50.gateway.model import RUN, STATE, Engine, Settings

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
TOKEN = 0.01  # seconds


class Server(http.server.ThreadingHTTPServer):
    """One engine: asks for its key, streams as many words as it is asked for."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, model: str, key: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.model, self.key = model, key
        self.seen: list[dict[str, Any]] = []
        self.breaks = ""  # "before" or "within" an answer, or "busy": says 503 itself
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to talk of."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """As much of an engine as the gateway asks for."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.answer(401, {"error": "key"})
        else:
            self.answer(200, {"object": "list", "data": [{"id": self.server.model}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(
            {"headers": {name.lower(): value for name, value in self.headers.items()}, "body": body, "path": self.path}
        )
        if self.server.breaks == "before":
            self.connection.close()
            return
        if self.server.breaks == "busy":
            self.answer(503, {"error": "own words"})
            return
        if self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.answer(401, {"error": "key"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(int(json.loads(body).get("max_tokens", 3))):
            if self.server.breaks == "within" and number == 2:
                return
            self.wfile.write(f"data: {number}\n\n".encode())
            self.wfile.flush()
            time.sleep(TOKEN)
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def engine(name: str, server: Server) -> Engine:
    node, _, kind = name.partition("-")
    return Engine(name, node, kind, "127.0.0.1", server.server_address[1], (server.model,), "node", "/k")


class Gateway:
    """HAProxy in the foreground of a thread; `take` gives it other engines by a reload."""

    def __init__(self, engines: Sequence[Engine], keys: dict[str, str], **settings: Any) -> None:
        # Short: the path of a socket may have 107 bytes.
        self.folder, self.keys = Path(tempfile.mkdtemp(prefix="gw")), keys
        folder = self.folder
        self.settings = Settings(**{"port": free_port(), "metrics_port": free_port(), "check_interval": 1, **settings})
        self.clients = {"alice": "alices-key-0123456789", "bob": "bobs-key-0123456789"}
        (folder / "run").mkdir()
        self.write(engines)
        command = [str(HAPROXY), "-W", "-f", str(folder / "haproxy.cfg"), "-S", f"{folder}/run/master.sock"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.ask = admin.asker(folder / "run/master.sock")
        self.until(lambda: self.status("GET", "/health") == 200)

    def write(self, engines: Sequence[Engine]) -> None:
        text = render.configuration(engines, self.settings, str(self.folder))
        files = {"haproxy.cfg": text.replace(RUN, f"{self.folder}/run").replace(STATE, f"{self.folder}/servers")}
        files.update(render.others(engines, self.clients))
        files["engines.map"] = render.engine_keys(self.keys)
        for name, content in files.items():
            (self.folder / name).write_text(content)

    def take(self, engines: Sequence[Engine], moved: Sequence[str] = ()) -> None:
        worker = admin.workers(self.ask("show proc"))[0]
        (self.folder / "servers").write_text(admin.state(self.ask, moved))
        self.write(engines)
        self.process.send_signal(12)  # SIGUSR2
        self.until(lambda: admin.workers(self.ask("show proc"))[0] not in (0, worker))

    def up(self, *names: str, seconds: float = 10.0) -> None:
        """Wait until the engines of these names are up."""
        wanted = {f"engine-{name}" for name in names}

        def there() -> bool:
            return wanted <= {one.proxy for one in self.servers() if one.status == "UP" and "L7OK" in one.check}

        self.until(there, seconds)

    def servers(self) -> list[admin.Server]:
        return admin.every(self.ask)[0]

    def until(self, true: Any, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if true():
                    return
            assert self.process.poll() is None, self.process.stderr.read() if self.process.stderr else ""
            time.sleep(0.05)
        raise AssertionError([tuple(one) for one in self.servers()])

    def status(self, method: str, path: str) -> int:
        return self.request(method, path)[0]

    def request(
        self, method: str, path: str, body: Any = None, key: str = "", **headers: str
    ) -> tuple[int, bytes, Any]:
        """Status, body and head of one request; a stream that breaks raises http.client.HTTPException."""
        with self.stream(method, path, body, key, **headers) as response:
            return response.status, response.read(), response.headers

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str, body: Any = None, key: str = "", **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.port, timeout=20)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {**({"Authorization": f"Bearer {key}"} if key else {}), **given})
        response = connection.getresponse()
        try:
            yield response
        finally:
            response.close()
            connection.close()

    def chat(self, model: str, tokens: int = 3, key: str = "alices-key-0123456789") -> tuple[int, bytes, Any]:
        body = {"messages": [{"role": "user", "content": "x"}], "model": model, "max_tokens": tokens, "stream": True}
        return self.request("POST", "/v1/chat/completions", body, key)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder)
