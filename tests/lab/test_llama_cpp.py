"""Issue 7 on a node that is finished otherwise: site.yml adds an engine, a key stays secret, and one call settles it.

Real llama-server of Debian unstable on the node's processor, which is allowed in so many words; what Vulkan does there,
and what is healed, is molecule's scenario of both engines.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab import site
from lab.engines import units
from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab
NODE = "node2"
KEY = "/etc/mi50-aipc/keys/llama_cpp"
OWN = "a-key-of-somebody-0123456789"
ASK = """\
import json, sys, urllib.error, urllib.request
asked = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
head = {"Content-Type": "application/json", "Authorization": "Bearer " + sys.argv[1]}
url = "http://127.0.0.1:8080/v1/chat/completions"
try:
    print(urllib.request.urlopen(urllib.request.Request(url, json.dumps(asked).encode(), head), timeout=60).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def options(lab: Lab) -> dict[str, Any]:
    """What the node is asked for."""
    found = units.provide(lab.settings)
    return {
        "mi50_engines": ["llama_cpp"],
        "llama_cpp_model": f"{found['models']}/SmolLM2-135M-Instruct.Q4_1.gguf",
        "llama_cpp_alias": "smollm2",
        "llama_cpp_context": 1024,
        "llama_cpp_root": found["tree"],
        "llama_cpp_server": "/usr/bin/llama-server",
        "llama_cpp_gpus": ["none"],
        "llama_cpp_allow_software": True,
        "llama_cpp_extra_args": ["-t", "2", "-dev", "none"],
    }


@pytest.fixture(scope="module")
def serving(converged: Lab, options: dict[str, Any]) -> Iterator[dict[str, site.Result]]:
    """The node after: a run with everything shown, a plain one, a check; nothing is left of it afterwards."""
    node = ("--limit", NODE)
    extra = ("-e", json.dumps(options))
    yield {
        "first": converged.site(*node, *extra, "-vvvv", "--diff"),
        "second": converged.site(*node, *extra),
        "check": converged.site(*node, *extra, "--check", "--diff"),
    }
    absent = json.dumps({**options, "llama_cpp_state": "absent"})
    converged.site(*node, "-e", absent, "--tags", "llama_cpp")


@pytest.mark.parametrize("run", ["first", "second", "check"])
def test_runs_succeed(serving: dict[str, site.Result], run: str) -> None:
    assert serving[run].returncode == 0, serving[run].why


def test_it_answers_behind_its_key(converged: Lab, serving: dict[str, site.Result]) -> None:
    ask = f"python3 -c {shlex.quote(ASK)}"
    assert converged.ssh(NODE, f'{ask} "$(cat {KEY})"; {ask} wrong').split() == ["200", "401"]


def test_no_output_tells_the_key(converged: Lab, serving: dict[str, site.Result]) -> None:
    key = converged.ssh(NODE, f"cat {KEY}").strip()
    assert len(key) >= 32
    assert [name for name, run in serving.items() if key in run.output] == []


def test_a_settled_engine_is_asked_within_the_preflights_call(serving: dict[str, site.Result]) -> None:
    for name in ("second", "check"):
        output = serving[name].output
        assert serving[name].recap[NODE]["changed"] == 0
        assert "llama_cpp serving smollm2" in output
        assert "TASK [llama_cpp" not in output
    assert "TASK [llama_cpp" in serving["first"].output


def test_a_key_of_ones_own_stays_out_of_the_output(
    converged: Lab, serving: dict[str, site.Result], options: dict[str, Any], tmp_path: Any
) -> None:
    # In a file, as a vault would be: what is on the command line, Ansible itself prints.
    variables = tmp_path / "vault.yml"
    variables.write_text(json.dumps({**options, "llama_cpp_api_key": OWN}))
    run = converged.site("--limit", NODE, "-e", f"@{variables}", "--tags", "llama_cpp", "-vvvv", "--diff")
    assert run.returncode == 0, run.why
    assert OWN not in run.output
    assert converged.ssh(NODE, f"cat {KEY}").strip() == OWN
    # What Ansible sent goes away when its supervisor wakes up: every five seconds.
    look = f"grep -rl {OWN} /etc /var /run /tmp /home 2>/dev/null || true"
    for _second in range(20):
        found = converged.ssh(NODE, look).split()
        if found == [KEY]:
            break
        time.sleep(1)
    assert found == [KEY]
