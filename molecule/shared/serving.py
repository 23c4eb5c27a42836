"""What the tests of engines ask of the node."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from helpers import journal

ASK = """
import json, sys, urllib.error, urllib.request
url, body, path = sys.argv[1:4]
headers = {"Content-Type": "application/json"}
if path != "none":
    headers["Authorization"] = "Bearer " + open(path).read().strip()
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body.encode() or None, headers), timeout=100)
    print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


class Engine(NamedTuple):
    """One service of the node."""

    name: str
    port: int

    @property
    def unit(self) -> str:
        """Its unit."""
        return f"mi50-{self.name}.service"

    @property
    def key(self) -> str:
        """The file with its key."""
        return f"/etc/mi50-aipc/keys/{self.name}"

    def ask(self, host: Any, path: str, body: str = "", *, key: bool = True) -> tuple[int, dict[str, Any]]:
        """Status and answer of a request."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with journal(host, self.unit):
            said = host.run("python3 -c %s %s %s %s", ASK, url, body, self.key if key else "none")
            assert said.rc == 0, said.stderr
        code, _gap, text = said.stdout.partition(" ")
        return int(code), json.loads(text)

    def chat(self, host: Any, content: Any, *, key: bool = True) -> tuple[int, dict[str, Any]]:
        """Four tokens of an answer."""
        asked = {"model": "smollm2", "messages": [{"role": "user", "content": content}], "max_tokens": 4}
        return self.ask(host, "/v1/chat/completions", json.dumps(asked), key=key)

    def status(self, host: Any) -> dict[str, Any]:
        """What the last look found."""
        found: dict[str, Any] = json.loads(host.run(f"mi50-serve status /etc/mi50-aipc/serve/{self.name}.json").stdout)[
            0
        ]
        return found

    def pid(self, host: Any) -> str:
        """Its main process."""
        return str(host.check_output(f"systemctl show -p MainPID --value {self.unit}"))

    def until(self, host: Any, fine: Callable[[], bool], seconds: float) -> float:
        """Wait; the seconds it took."""
        begin = time.monotonic()
        with journal(host, self.unit, f"mi50-{self.name}-health.service"):
            while not fine():
                assert time.monotonic() - begin < seconds, f"waited in vain: {self.status(host)}"
                time.sleep(0.3)
        return time.monotonic() - begin

    def healed(self, host: Any, known: int) -> dict[str, Any]:
        """The next heal after `known` of them, once the service is ready again."""

        def done() -> bool:
            found = self.status(host)
            return len(found["heals"]) > known and "seconds" in found["heals"][-1] and found["state"] == "ready"

        self.until(host, done, 90)
        heal: dict[str, Any] = self.status(host)["heals"][-1]
        return heal


LLAMA, LMSTUDIO = Engine("llama_cpp", 8080), Engine("lmstudio", 1234)
BOTH = (LLAMA, LMSTUDIO)
