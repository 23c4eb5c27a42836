"""The runner as it runs in its unit, with real git, pip and a real build; only systemd is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgSign=false"]
# Makes a wheel without a compiler, a package index or setuptools.
SETUP = """
import os, sys, zipfile
print("[1/2] Building one", flush=True)
if os.path.exists("fail"):
    sys.exit("x.cpp:7:1: error: " + open("fail").read())
if os.path.exists("hungry") and os.environ["MAX_JOBS"] != "1":
    sys.exit("c++: fatal error: Killed signal terminated program cc1plus")
print("[2/2] Building two", flush=True)
with zipfile.ZipFile(sys.argv[1] + "/thing-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("thing.py", "VALUE = %r" % os.environ["VALUE"])
    wheel.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n")
    wheel.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("thing-1.0.dist-info/RECORD", "")
"""


class Bench:
    """A folder as root lays it out for a build, and a repository to build from."""

    def __init__(self, folder: Path) -> None:
        self.work, self.repository = folder / "work", folder / "upstream"
        (self.work / "downloads").mkdir(parents=True)
        shutil.copytree(ROOT / "module_utils/mi50/build/inside", self.work / "inside")
        self.commit_file("setup_it.py", SETUP)
        self.job: dict[str, Any] = {
            "key": "k",
            "name": "thing",
            "distribution": "thing",
            "version": "1.0",
            "produces": "thing-*.whl",
            "python": sys.executable,
            "source": {"url": self.repository.as_uri(), "commit": self.head, "branch": "release-x"},
            "downloads": [],
            "patches": [],
            "requirements": [],
            "indexes": [],
            "index_url": "",
            "environment": {"VALUE": "{jobs} jobs"},
            "commands": [["{python}", "setup_it.py", "{out}"]],
            "tests": [],
            "directory": ".",
            "ccache": "",
            "jobs": 4,
        }

    def quick(self) -> None:
        """Spare the seconds in which venv installs a pip that a build without requirements does not need."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.work / "venv")], check=True)
        (self.work / "venv.json").write_text(json.dumps({"python": sys.executable}))

    def commit_file(self, name: str, text: str) -> None:
        if not self.repository.exists():
            subprocess.run(["git", "init", "--quiet", str(self.repository)], check=True)
            # As GitHub's servers do.
            subprocess.run(
                ["git", "-C", str(self.repository), "config", "uploadpack.allowAnySHA1InWant", "true"], check=True
            )
        (self.repository / name).write_text(text)
        subprocess.run([*GIT, "-C", str(self.repository), "add", name], check=True)
        subprocess.run([*GIT, "-C", str(self.repository), "commit", "--quiet", "-m", name], check=True)
        done = subprocess.run(
            ["git", "-C", str(self.repository), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
        )
        self.head = done.stdout.strip()

    def phase(self, name: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, state.json and the log of a phase."""
        (self.work / "job.json").write_text(json.dumps(self.job))
        argv = [sys.executable, "-B", "-m", "inside.phase", name, str(self.work)]
        done = subprocess.run(argv, cwd=self.work, check=False, capture_output=True, text=True)
        return done.returncode, json.loads((self.work / "state.json").read_text()), done.stdout + done.stderr

    def both(self) -> tuple[int, dict[str, Any], str]:
        code, state, log = self.phase("fetch")
        return self.phase("build") if code == 0 else (code, state, log)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    found = Bench(tmp_path)
    found.quick()
    return found


def test_a_wheel_is_fetched_built_tested_and_described(bench: Bench) -> None:
    shutil.rmtree(bench.work / "venv")
    bench.job["tests"] = [["{python}", "-c", "import thing; assert thing.VALUE.endswith('jobs')"]]
    code, state, log = bench.both()
    assert code == 0, log
    assert (state["status"], state["step"], state["result"]["jobs"]) == ("done", "done", 4)
    (file,) = state["result"]["files"]
    wheel = bench.work / "out" / file["name"]
    assert (file["name"], file["size"]) == ("thing-1.0-py3-none-any.whl", wheel.stat().st_size)
    branch = subprocess.run(
        ["git", "-C", str(bench.work / "src"), "branch", "--show-current"], check=True, capture_output=True, text=True
    )
    assert branch.stdout.strip() == "release-x"
    # Only the one commit came over the wire.
    assert (bench.work / "src/.git/shallow").exists()


def test_a_second_try_keeps_what_was_compiled(bench: Bench) -> None:
    assert bench.phase("fetch")[0] == 0
    (bench.work / "src/object.o").write_text("compiled")
    code, dummy, log = bench.phase("fetch")
    assert code == 0, log
    assert "git" not in log
    assert (bench.work / "src/object.o").exists()


def test_an_older_commit_than_the_newest(bench: Bench) -> None:
    bench.commit_file("fail", "the newest is broken")
    assert bench.both()[0] == 0


def test_an_unknown_commit(bench: Bench) -> None:
    bench.job["source"]["commit"] = "1234567890" * 4
    code, state, log = bench.phase("fetch")
    assert (code, state["status"], state["step"]) == (1, "failed", "source")
    assert "not our ref" in log or "unknown commit" in log
    assert any("1234567890" in line for line in state["tail"])


def test_a_build_that_fails_half_way(bench: Bench) -> None:
    bench.commit_file("fail", "expected ';'")
    bench.job["source"]["commit"] = bench.head
    code, state, log = bench.both()
    assert (code, state["status"], state["step"]) == (1, "failed", "compile")
    assert (state["done"], state["total"]) == (1, 2)
    assert "x.cpp:7:1: error: expected ';'" in state["tail"]
    assert not list((bench.work / "out").glob("*.whl")), log


def test_short_of_memory_means_fewer_jobs(bench: Bench) -> None:
    bench.commit_file("hungry", "")
    bench.job["source"]["commit"] = bench.head
    code, state, log = bench.both()
    assert code == 0, log
    assert state["result"]["jobs"] == 1
    assert [line for line in log.splitlines() if "short of memory" in line] == [
        "== compile: short of memory: again with 2 jobs",
        "== compile: short of memory: again with 1 jobs",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "2.0"}, "named thing 1.0; the recipe says thing 2.0"),
        ({"produces": "other-*.whl"}, "0 wheels instead of one fit other-*.whl: thing-1.0-py3-none-any.whl"),
        ({"tests": [["{python}", "-c", "raise SystemExit(3)"]]}, "ended with exit code 3"),
        ({"commands": [["no-such-compiler"]]}, "no-such-compiler: No such file"),
    ],
    ids=["version", "name", "test", "program"],
)
def test_what_is_not_as_the_recipe_says(bench: Bench, change: dict[str, Any], words: str) -> None:
    bench.job.update(change)
    code, state, log = bench.both()
    assert (code, state["status"]) == (1, "failed"), log
    assert words in state["message"]


def test_patches_are_applied_and_a_wrong_one_is_refused(bench: Bench) -> None:
    patch = "--- a/setup_it.py\n+++ b/setup_it.py\n@@ -2,3 +2,3 @@\n import os, sys, zipfile\n-{}\n+{}\n"
    patch += ' if os.path.exists("fail"):\n'
    line = SETUP.splitlines()[2]
    bench.job["patches"] = [{"name": "p", "text": patch.format(line, line.replace("one", "patched"))}]
    code, dummy, log = bench.both()
    assert code == 0, log
    assert "Building patched" in log
    shutil.rmtree(bench.work / "src")
    (bench.work / "prepared.json").unlink()
    bench.job["patches"] = [{"name": "p", "text": patch.format("not there", "x")}]
    code, state, log = bench.phase("fetch")
    assert (code, state["step"]) == (1, "patches")
    assert "patch does not apply" in log or "patch failed" in log


def test_a_download_is_proven_unpacked_and_not_fetched_twice(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "llvm-1/include").mkdir(parents=True)
    (tmp_path / "llvm-1/include/x.h").write_text("x")
    archive = tmp_path / "llvm-1.tar.gz"
    subprocess.run(["tar", "-czf", str(archive), "-C", str(tmp_path), "llvm-1"], check=True)
    one = {"name": "llvm", "url": archive.as_uri(), "sha256": "0" * 64, "strip": 1}
    bench.job["downloads"] = [one]
    code, state, log = bench.phase("fetch")
    assert (code, state["step"]) == (1, "download")
    assert "sha256 mismatch" in state["message"] and "0" * 64 in state["message"]
    one["sha256"] = ""
    code, dummy, log = bench.phase("fetch")
    assert code == 0, log
    assert "not locked" in log
    assert (bench.work / "downloads/llvm/include/x.h").read_text() == "x"
    archive.unlink()
    assert bench.phase("fetch")[0] == 0


def test_the_runner_gets_no_secrets_of_its_unit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    bench.job["commands"].insert(0, ["{python}", "-c", "import os; print(sorted(os.environ.items()))"])
    code, dummy, log = bench.both()
    assert code == 0, log
    assert "hunter2" not in log
    assert "http://proxy:3128" in log
