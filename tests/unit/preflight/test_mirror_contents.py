"""A mirror that is incomplete for a stack: said with all that is missing, before anything changes."""

from __future__ import annotations

import copy
import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mi50.mirror import contents, plan
from mi50.mirror.store import Store
from mi50.preflight.check_mirror import check_mirror, missing
from mi50.preflight.mirror_needs import needs
from mi50.preflight.model import Check
from mi50.preflight.proxy import ProxySettings
from mi50.stack.api import get_stack

STACKS = Path(__file__).resolve().parents[3] / "stacks"
LOCK = Path("/nonexistent/lock.yml")
BASE = "http://192.0.2.5:8090"
X_SHA256 = hashlib.sha256(b"x").hexdigest()
IMAGE = "nalanzeyu/vllm-gfx906"


def resolved(base: str, lock: Path = LOCK) -> dict[str, Any]:
    """The stack as a node of the mirror sees it."""
    own = get_stack("rocm-6.4.3", STACKS, lock, {})["bases"]
    web = {name: f"{base}/{plan.folder(name)}" for name in own if name.startswith("mi50_url_")}
    return get_stack("rocm-6.4.3", STACKS, lock, {**web, "mi50_registry_docker": "192.0.2.5:5000"})


def asked(stack: dict[str, Any]) -> dict[str, Any]:
    """What roles ask: everything that fetches."""
    build = next(one for one in stack["builds"] if one["name"] == "triton")
    source = stack["artifacts"]["triton-gfx906"]["commit"]
    return {
        "rocm_info": {
            "source": {"uri": stack["rocm"]["apt"]["userspace"]["url"]},
            "packages": stack["rocm"]["packages"]["full"],
        },
        "gfx906_rocblas": {"source_id": stack["artifacts"]["rocblas-arch"]["url"]},
        "fan_info": None,
        "build_once": {
            "builds": [{"name": "triton", "parts": {"source": source, "requirements": " ".join(build["requirements"])}}]
        },
        "torch_env": {
            "index": stack["artifacts"]["torch-index"]["url"],
            "torch": {"torch": stack["python"]["torch"]},
        },
        "model": {"models": [{"name": "qwen3-8b", "identity": "x"}]},
        "vllm": {"name": "vllm"},
    }


def engines(stack: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    image = stack["artifacts"]["vllm-image"]
    return {"vllm": [(image["url"], image["version"])]}


def whole() -> dict[str, Any]:
    """The list of a mirror that has everything for Debian 12."""
    stack = get_stack("rocm-6.4.3", STACKS, LOCK, {})
    held = plan.items(stack, plan.Settings(platforms=["debian-12"], models=[{"name": "qwen3-8b"}]))
    return {item.name: {"kind": item.kind, "what": dict(item.what), "values": {}} for item in held}


def lacking(items: dict[str, Any], platform: str = "debian-12", python: str = "3.11") -> list[str]:
    stack = resolved(BASE)
    return missing(items, needs(stack, asked(stack), engines(stack), BASE), platform, python)


def test_a_whole_mirror_lacks_nothing() -> None:
    assert lacking(whole()) == []


def test_everything_that_is_missing_is_said_at_once() -> None:
    assert lacking({}) == [
        "apt-debian-12 (packages of this release)",
        "radeon/rocm/rocm.gpg.key",
        "arch_archive/packages/r/rocblas/rocblas-6.4.3-3-x86_64.pkg.tar.zst",
        "pytorch/rocm6.4",
        "github/nlzy/triton-gfx906",
        "triton/llvm-builds/llvm-7d5de303-ubuntu-x64.tar.gz",
        "build-triton",
        IMAGE,
        "model-qwen3-8b",
    ]


def test_what_this_node_cannot_use_is_missing_too() -> None:
    """Another release, another Python, another commit, another version of torch, a package less."""
    said = lacking(whole(), "ubuntu-24.04", "3.12")
    assert said == [
        "apt-ubuntu-24.04 (packages of this release)",
        "pytorch/rocm6.4: wheels for Python 3.12",
        "build-triton: wheels for Python 3.12",
    ]
    items = copy.deepcopy(whole())
    commit = items["triton-gfx906"]["what"]["commit"]
    items["triton-gfx906"]["what"]["commit"] = "0" * 40
    items["torch-index"]["what"]["pins"]["torch"] = "2.0.0"
    items["apt-debian-12"]["what"]["packages"].remove("rocm")
    items["build-triton"]["what"]["requirements"].remove("ninja==1.11.1.4")
    torch = resolved(BASE)["python"]["torch"]
    assert lacking(items) == [
        "apt-debian-12: rocm",
        f"pytorch/rocm6.4: torch {torch}",
        f"github/nlzy/triton-gfx906: {commit}, it has {'0' * 40}",
        "build-triton: ninja==1.11.1.4",
    ]


def test_a_file_that_is_another_than_the_lock_says(tmp_path: Path) -> None:
    """The kernels' package and what a build downloads; by what the mirror tells of them, where the lock knows."""
    path, entries = tmp_path / "lock.yml", {"rocblas-arch": {"sha256": "a" * 64}, "triton-llvm": {"sha256": "c" * 64}}
    path.write_text(json.dumps({"stack": "rocm-6.4.3", "artifacts": entries}))
    stack = resolved(BASE, path)
    wanted = needs(stack, asked(stack), {}, BASE)
    items = whole()
    for name, digest in (("rocblas-arch", "b" * 64), ("triton-llvm", "c" * 64)):
        items[name]["values"] = {"sha256": digest}
    assert missing(items, wanted, "debian-12", "3.11") == [
        f"arch_archive/packages/r/rocblas/rocblas-6.4.3-3-x86_64.pkg.tar.zst: {'a' * 64}, it has {'b' * 64}"
    ]
    # A list of an earlier version says nothing of digests: the file is judged when it comes.
    del items["rocblas-arch"]["values"]["sha256"], items["triton-llvm"]["values"]["sha256"]
    assert missing(items, wanted, "debian-12", "3.11") == []


def test_what_leads_elsewhere_is_none_of_the_mirrors() -> None:
    stack = get_stack("rocm-6.4.3", STACKS, LOCK, {})
    assert needs(stack, asked(stack), engines(stack), BASE) == []
    # A mirror whose address begins alike is another.
    stack = resolved("http://192.0.2.5:8091")
    assert [one["kind"] for one in needs(stack, asked(stack), {}, BASE)] == []


class Served:
    """A folder over HTTP."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.base = folder, f"http://127.0.0.1:{port}"

    def check(self, answered: tuple[str, ...] = ()) -> Check:
        stack = resolved(self.base)
        wanted = needs(stack, asked(stack), {}, self.base)
        mirror = {"base": self.base, "needs": wanted, "pythons": {"debian-12": "3.11"}}
        return check_mirror(mirror, answered, "debian-12", ProxySettings(), 5)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Served(tmp_path, server.server_port)
        server.shutdown()


def test_a_node_asks_once_and_says_all_of_it(served: Served) -> None:
    items = whole()
    (served.folder / "contents.json").write_text(json.dumps({"format": 1, "items": items}))
    assert served.check().status == "ok"
    for name in ("rocblas-arch", "build-triton"):
        del items[name]
    (served.folder / "contents.json").write_text(json.dumps({"format": 1, "items": items}))
    check = served.check()
    assert (check.id, check.status) == ("mirror.contents", "fail")
    assert "incomplete for this stack, 2 missing: arch_archive/packages/r/rocblas/" in check.found
    assert check.found.endswith("; build-triton") and "playbooks/mirror.yml" in check.remedy
    # What is on the node already needs nobody's mirror.
    assert served.check(("gfx906_rocblas", "build_once")).status == "ok"


@pytest.mark.parametrize("text", ["<html>", "[]", '{"format": 2, "items": {}}', '{"format": 1, "items": []}'])
def test_what_is_no_list_is_refused(served: Served, text: str) -> None:
    (served.folder / "contents.json").write_text(text)
    check = served.check()
    assert check.status == "fail" and "no list of a mirror's contents" in check.found


def test_a_mirror_without_a_list_is_no_failure_and_one_that_is_down_is(served: Served) -> None:
    assert served.check().status == "warn"
    down = Served(served.folder, 9)
    check = down.check()
    assert check.status == "fail" and "artifact_mirror_client_base" in check.remedy


def test_a_mirror_tells_what_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "www").mkdir(exist_ok=True)
        (tmp_path / f"www/{name}").write_text("x")
        store.put(name, "file", {"path": name, "sha256": None}, {}, [tmp_path / f"www/{name}"])
    (tmp_path / "www/two").unlink()
    told = json.loads(contents.text(store))
    assert told == {
        "format": 1,
        "items": {"one": {"kind": "file", "what": {"path": "one", "sha256": None}, "values": {"sha256": X_SHA256}}},
    }
