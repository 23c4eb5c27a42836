"""Issue 6, "Shows" 1 to 3, on two nodes with Docker inside: vLLM's image from the mirror's registry, behind its key.

Real: Docker, the pull by digest, systemd, llama-server behind the stand-in of vLLM, and the same model file for
llama_cpp on one of the nodes. The wheel made for a node is molecule's scenario vllm.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lab import nodes, site
from lab.__main__ import up
from lab.engines import models, units
from lab.mirror import registry
from tests.lab.conftest import Lab

pytestmark = [pytest.mark.lab, pytest.mark.long]
NODES = ("node4", "node5")
BOTH = "node5"  # has llama_cpp as well
UNIT = "mi50-vllm.service"
STORE = "/var/lib/mi50-aipc/models"
ARCHIVE = "/var/tmp/image.tar"
ASK = """\
import json, sys, urllib.error, urllib.request
port, model, key = sys.argv[1:]
asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
head = {"Content-Type": "application/json", **({"Authorization": "Bearer " + key} if key else {})}
url = "http://127.0.0.1:%s/v1/chat/completions" % port
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, json.dumps(asked).encode(), head), timeout=60)
    print(answer.status, json.load(answer)["usage"]["completion_tokens"])
except urllib.error.HTTPError as error:
    print(error.code, 0)
"""


@dataclass
class Pair:
    """Two nodes, and what they are asked for."""

    lab: Lab
    digests: dict[str, str]
    options: dict[str, Any]

    def run(self, *arguments: str, **changes: Any) -> site.Result:
        given = json.dumps({**self.options, **changes})
        return self.lab.site("--limit", ",".join(NODES), "--tags", "engines", "-e", given, *arguments)

    def ask(self, node: str, engine: str, key: str) -> str:
        port = {"vllm": 8000, "llama_cpp": 8080}[engine]
        return self.lab.ssh(node, f"python3 -c {shlex.quote(ASK)} {port} smollm2 {shlex.quote(key)}").strip()

    def key(self, node: str, engine: str = "vllm") -> str:
        return self.lab.ssh(node, f"cat /etc/mi50-aipc/keys/{engine}").strip()

    def image(self, node: str) -> str:
        return self.lab.ssh(node, "docker inspect -f '{{.Config.Image}}' mi50-vllm").strip()


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Iterator[Pair]:
    settings = dataclasses.replace(lab.settings, nodes=5, docker_nodes=NODES)
    storage, provided = registry.publish(settings), units.provide(settings)
    url, dummy = up(settings)
    host = f"{url.partition('//')[2]}:80"
    file = models.SMOLLM.file
    wanted = {"name": "smollm2", "source": "url", "url": f"{url}/variants/registry/{registry.MODEL}"}
    digests = registry.digests(storage)
    options = {
        "mi50_engines": f"{{{{ ['vllm', 'llama_cpp'] if inventory_hostname == '{BOTH}' else ['vllm'] }}}}",
        "mi50_registry_docker": host,
        "container_engine_insecure_registries": [host],
        "models_list": [{**wanted, "files": ["config.json", file]}],
        "vllm_image_digest": digests["good"],
        "vllm_image_bytes": 100000000,
        "vllm_model": f"{STORE}/smollm2",
        "vllm_context": 1024,
        "vllm_max_requests": 1,
        "vllm_gpus": ["none"],
        "vllm_allow_software": True,
        "vllm_load_timeout": 120,
        "vllm_health_interval": 5,
        "llama_cpp_model": f"{STORE}/smollm2/{file}",
        "llama_cpp_alias": "smollm2",
        "llama_cpp_context": 1024,
        "llama_cpp_root": provided["tree"],
        "llama_cpp_server": "/usr/bin/llama-server",
        "llama_cpp_gpus": ["none"],
        "llama_cpp_allow_software": True,
        "llama_cpp_extra_args": ["-t", "1", "-dev", "none"],
    }
    yield Pair(lab, digests, options)
    for name in NODES:
        nodes.remove(name)
    up(lab.settings)


@pytest.fixture(scope="module")
def served(pair: Pair) -> tuple[Pair, dict[str, site.Result]]:
    """A run with everything shown, and the same again."""
    return pair, {"first": pair.run("-vvv", "--diff"), "second": pair.run("-vvv", "--diff")}


Served = tuple[Pair, dict[str, site.Result]]


def test_both_apis_answer_with_their_key_alone(served: Served) -> None:
    pair, runs = served
    assert runs["first"].returncode == 0, runs["first"].why
    keys = {node: pair.key(node) for node in NODES}
    assert len(set(keys.values())) == len(NODES)
    for node in NODES:
        other = next(name for name in NODES if name != node)
        found = [pair.ask(node, "vllm", key) for key in (keys[node], "", keys[other])]
        assert found == ["200 4", "401 0", "401 0"], node


def test_a_second_run_changes_nothing(served: Served) -> None:
    dummy, runs = served
    assert runs["second"].returncode == 0, runs["second"].why
    assert {node: runs["second"].recap[node]["changed"] for node in NODES} == dict.fromkeys(NODES, 0)


def test_nothing_tells_a_key(served: Served) -> None:
    pair, runs = served
    processes = "ps axeww; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    places = f"{processes}; systemctl cat 'mi50-*'; journalctl --no-pager; docker inspect mi50-vllm"
    places += "; docker image inspect $(docker image ls -q); cat /usr/local/lib/mi50-aipc/vllm/*"
    for node in NODES:
        for engine in ("vllm", "llama_cpp") if node == BOTH else ("vllm",):
            key = pair.key(node, engine)
            assert len(key) >= 32
            assert key not in pair.lab.ssh(node, f"({places}) || true"), (node, engine)
            assert [name for name, run in runs.items() if key in run.output] == []
            look = f"grep -rl -e {key} /etc /var/lib/mi50-aipc /var/log /run || true"
            assert pair.lab.ssh(node, look).split() == [f"/etc/mi50-aipc/keys/{engine}"]


def test_nothing_listens_beyond_loopback_but_ssh(served: Served) -> None:
    pair, dummy = served
    for node in NODES:
        listening = {line.split()[3] for line in pair.lab.ssh(node, "ss -Hltn").splitlines()}
        assert "127.0.0.1:8000" in listening
        assert not {name for name in listening if not name.startswith("127.") and not name.endswith(":22")}


def test_the_container_has_no_rights(served: Served) -> None:
    pair, dummy = served
    (found,) = json.loads(pair.lab.ssh("node4", "docker inspect mi50-vllm"))
    ids = pair.lab.ssh("node4", "id -u mi50-vllm; id -g mi50-vllm").split()
    assert found["Config"]["User"] == ":".join(ids)
    limits = found["HostConfig"]
    assert (limits["CapDrop"], limits["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert not limits["Privileged"]
    assert not [mount for mount in found["Mounts"] if "docker.sock" in mount["Source"]]
    assert {mount["Destination"] for mount in found["Mounts"] if mount["RW"]} == {"/cache"}
    status = pair.lab.ssh("node4", "cat /proc/$(docker inspect -f '{{.State.Pid}}' mi50-vllm)/status")
    assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status


def test_two_engines_share_one_copy(served: Served) -> None:
    pair, dummy = served
    assert pair.ask(BOTH, "llama_cpp", pair.key(BOTH, "llama_cpp")) == "200 4"
    assert pair.ask(BOTH, "llama_cpp", pair.key(BOTH)) == "401 0"
    files = pair.lab.ssh(BOTH, f"find / -xdev -name '{models.SMOLLM.file}' -printf '%p %n\\n'").splitlines()
    assert files == [f"{STORE}/smollm2/{models.SMOLLM.file} 1"]
    (found,) = json.loads(pair.lab.ssh(BOTH, "docker inspect mi50-vllm"))
    assert f"{STORE}/smollm2" in {mount["Source"] for mount in found["Mounts"]}
    command = pair.lab.ssh(BOTH, "tr '\\0' ' ' </proc/$(systemctl show -p MainPID --value mi50-llama_cpp)/cmdline")
    assert f"-m {STORE}/smollm2/{models.SMOLLM.file} " in command


def test_a_restart_keeps_the_caches(served: Served) -> None:
    pair, dummy = served
    before = pair.lab.ssh("node4", "docker inspect -f '{{.Id}}' mi50-vllm")
    pair.lab.ssh("node4", f"systemctl restart {UNIT}")
    log = f"journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -p InvocationID --value {UNIT})"
    deadline = time.monotonic() + 60
    while "Starting vLLM API server" not in (said := pair.lab.ssh("node4", log)):
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    assert pair.lab.ssh("node4", "docker inspect -f '{{.Id}}' mi50-vllm") != before
    assert "Directly load the compiled graph(s) from the cache" in said
    assert "Compiling a graph" not in said


@pytest.fixture(scope="module")
def upgraded(served: Served) -> Pair:
    """node4 has its image from an archive now, node5 a newer one from the registry."""
    pair, dummy = served
    pair.lab.ssh("node4", f"docker save --output {ARCHIVE} {pair.image('node4')}")
    digest = pair.lab.ssh("node4", f"sha256sum {ARCHIVE}").split()[0]
    here = "{{{{ '{}' if inventory_hostname == '{}' else '{}' }}}}"
    pair.options.update(
        vllm_image_archive=here.format(ARCHIVE, "node4", ""),
        vllm_image_archive_sha256=here.format(digest, "node4", ""),
        vllm_image_digest=here.format(pair.digests["newer"], "node5", pair.digests["good"]),
    )
    run = pair.run()
    assert run.returncode == 0, run.why
    return pair


def test_an_archive_and_a_newer_image_take_over(upgraded: Pair) -> None:
    assert upgraded.image("node4").startswith("mi50-aipc/archive:")
    assert upgraded.digests["newer"] in upgraded.image("node5")
    kept = upgraded.lab.ssh("node5", "docker image ls --digests --format '{{.Digest}}'").split()
    assert set(kept) == {upgraded.digests["good"], upgraded.digests["newer"]}


def test_an_image_that_does_not_serve_is_taken_back_by_itself(upgraded: Pair) -> None:
    """node4's new one ends at once, node5's never gets ready; both keys, caches and answers are the old ones."""
    keys = {node: upgraded.key(node) for node in NODES}
    images = {node: upgraded.image(node) for node in NODES}
    broken = "{{{{ '{dies}' if inventory_hostname == 'node4' else '{never}' }}}}".format(**upgraded.digests)
    run = upgraded.run(
        vllm_image_archive="", vllm_image_archive_sha256="", vllm_image_digest=broken, vllm_load_timeout=10
    )
    assert {node: run.recap[node]["failed"] for node in NODES} == dict.fromkeys(NODES, 1)
    text = " ".join(run.output.split())
    assert "did not answer within" in text and "take a GPTQ or AWQ version" in text
    assert text.count("The version before serves again") >= len(NODES)
    for node in NODES:
        assert upgraded.image(node) == images[node]
        assert upgraded.ask(node, "vllm", keys[node]) == "200 4"
    # What is asked for again is what serves: nothing is left of the attempt.
    again = upgraded.run()
    assert {node: again.recap[node]["changed"] for node in NODES} == dict.fromkeys(NODES, 0), again.why
