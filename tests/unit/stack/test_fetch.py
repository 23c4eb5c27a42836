"""Fetching and locking: a real server, a real key, a wrong file, a file that changes afterwards."""

from __future__ import annotations

import copy
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from mi50.stack.api import get_stack
from mi50.stack.fetch import cache_path, fetch
from mi50.stack.load import StackError

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "packages/r/rocblas/rocblas-6.4.3-3-x86_64.pkg.tar.zst"
CONTENT = b"not really a package, but signed and served" * 1000


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder served over HTTP that holds the package; (folder, base URL)."""
    folder = tmp_path / "www"
    (folder / PACKAGE).parent.mkdir(parents=True)
    (folder / PACKAGE).write_bytes(CONTENT)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    ) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture
def stack(tmp_path: Path, upstream: tuple[Path, str]) -> dict[str, Any]:
    (tmp_path / "stacks").mkdir()
    shutil.copy(ROOT / "stacks/rocm-6.4.3.yml", tmp_path / "stacks")
    return get_stack("rocm-6.4.3", tmp_path / "stacks", None, {"mi50_url_arch_archive": upstream[1]})


@pytest.fixture
def keyring(tmp_path: Path, upstream: tuple[Path, str]) -> Path:
    """Sign the package with a fresh key; return the public keyring."""
    if not shutil.which("gpg") or not shutil.which("gpgv"):
        pytest.fail("gpg and gpgv are needed: apt-get install gpg gpgv")
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    package = upstream[0] / PACKAGE
    subprocess.run([*gpg, "--quick-gen-key", "packager@example", "ed25519", "sign", "never"], check=True)
    subprocess.run([*gpg, "--detach-sign", "--output", f"{package}.sig", str(package)], check=True)
    public = tmp_path / "public.gpg"
    subprocess.run([*gpg, "--export", "--output", str(public)], check=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, env={**os.environ})
    return public


def run(
    plugin: Callable[[str, str], ModuleType], capfd: pytest.CaptureFixture[str], **arguments: Any
) -> tuple[int, dict[str, Any]]:
    with patch_module_args(arguments), pytest.raises(SystemExit) as caught:
        plugin("library", "stack_lock").main()
    return int(caught.value.code or 0), json.loads(capfd.readouterr().out)


def test_fetches_once_and_records_what_it_is(
    plugin: Callable[[str, str], ModuleType],
    capfd: pytest.CaptureFixture[str],
    stack: dict[str, Any],
    keyring: Path,
    tmp_path: Path,
) -> None:
    given = {"stack": stack, "cache": str(tmp_path / "c"), "artifacts": ["rocblas-arch"], "keyring": str(keyring)}
    code, dry = run(plugin, capfd, **given, _ansible_check_mode=True)
    assert (code, dry["changed"], (tmp_path / "c").exists()) == (0, True, False)
    code, first = run(plugin, capfd, **given)
    assert (code, first["changed"]) == (0, True), first
    lock = yaml.safe_load(Path(stack["lock_file"]).read_text())["artifacts"]["rocblas-arch"]
    assert lock["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert lock["size"] == len(CONTENT)
    assert len(lock["signed_by"]) == 40
    assert set(lock) == {"sha256", "size", "signed_by", "url", "path", "date"}
    code, second = run(plugin, capfd, **given)
    assert (code, second["changed"], second["unchanged"]) == (0, False, ["rocblas-arch"])


def test_changed_upstream_is_refused(
    plugin: Callable[[str, str], ModuleType],
    capfd: pytest.CaptureFixture[str],
    stack: dict[str, Any],
    upstream: tuple[Path, str],
    tmp_path: Path,
) -> None:
    del stack["artifacts"]["rocblas-arch"]["signature"]  # this machine may have Arch's keyring
    given = {"cache": str(tmp_path / "c"), "artifacts": ["rocblas-arch"]}
    assert run(plugin, capfd, stack=stack, **given)[0] == 0
    before = Path(stack["lock_file"]).read_bytes()
    (upstream[0] / PACKAGE).write_bytes(CONTENT[:-1] + b"X")
    for path in (tmp_path / "c").rglob("*.zst"):
        path.unlink()
    code, result = run(plugin, capfd, stack=stack, **given)
    assert code == 1
    assert "changed upstream" in result["msg"]
    assert Path(stack["lock_file"]).read_bytes() == before
    locked = get_stack("rocm-6.4.3", tmp_path / "stacks", None, {"mi50_url_arch_archive": upstream[1]})
    del locked["artifacts"]["rocblas-arch"]["signature"]
    for path in (tmp_path / "c").rglob("*.zst"):
        path.unlink()
    code, result = run(plugin, capfd, stack=locked, **given)
    assert code == 1
    assert "sha256" in result["msg"]
    assert not list((tmp_path / "c").rglob("*.zst")), "a file that failed does not stay in the cache"


def test_bad_signature_is_refused(
    stack: dict[str, Any], upstream: tuple[Path, str], keyring: Path, tmp_path: Path
) -> None:
    (upstream[0] / PACKAGE).write_bytes(CONTENT + b"tampered")
    artifact = stack["artifacts"]["rocblas-arch"]
    with pytest.raises(StackError, match="does not verify"):
        fetch(artifact, tmp_path / "c", str(keyring))
    assert not cache_path(tmp_path / "c", artifact).exists()
    with pytest.raises(StackError, match="does not exist"):
        fetch(artifact, tmp_path / "c", str(tmp_path / "no.gpg"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": None}, "no address"),
        ({"url": "http://127.0.0.1:9/x"}, "cannot be fetched"),
        ({"url": "ftp://h/x"}, "only http"),
        ({"size": 5}, "size of .* expected 5"),
        ({"sha256": "00" * 32}, "sha256 of .* expected 0000"),
    ],
)
def test_refusals_name_artifact_and_reason(
    stack: dict[str, Any], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    artifact = {**copy.deepcopy(stack["artifacts"]["rocblas-arch"]), **change}
    with pytest.raises(StackError, match=f"rocblas-arch: .*{words}"):
        fetch(artifact, tmp_path / "c", None)


def test_unknown_artifact_lists_the_files(
    plugin: Callable[[str, str], ModuleType], capfd: pytest.CaptureFixture[str], stack: dict[str, Any], tmp_path: Path
) -> None:
    code, result = run(plugin, capfd, stack=stack, cache=str(tmp_path / "c"), artifacts=["vllm-gfx906"])
    assert code == 1
    assert "rocblas-arch" in result["msg"]


def test_what_a_mirror_found_is_recorded_and_binds(
    plugin: Callable[[str, str], ModuleType], capfd: pytest.CaptureFixture[str], stack: dict[str, Any], tmp_path: Path
) -> None:
    given = {"stack": stack, "cache": str(tmp_path / "c")}
    found = {"url": "http://m.example/x", "sha256": "ab" * 32, "size": 7}
    code, first = run(plugin, capfd, **given, values={"rocblas-arch": found})
    assert (code, first["changed"]) == (0, True), first
    lock = yaml.safe_load(Path(stack["lock_file"]).read_text())["artifacts"]["rocblas-arch"]
    assert (lock["sha256"], lock["size"]) == ("ab" * 32, 7)
    assert lock["path"] == stack["artifacts"]["rocblas-arch"]["path"]
    code, second = run(plugin, capfd, **given, values={"rocblas-arch": found})
    assert (code, second["changed"], second["unchanged"]) == (0, False, ["rocblas-arch"])
    code, other = run(plugin, capfd, **given, values={"rocblas-arch": {**found, "sha256": "cd" * 32}})
    assert code == 1 and "locked as" in other["msg"]
    code, unknown = run(plugin, capfd, **given, values={"nothing": {"url": "u"}})
    assert code == 1 and "has no such artifact; nothing was recorded" in unknown["msg"]
    assert not (tmp_path / "c").exists(), "something was fetched"
