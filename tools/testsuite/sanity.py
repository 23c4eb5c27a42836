"""Stage sanity: `ansible-test sanity` and the documentation linter over the assembled collection.

ansible-test makes one virtual environment for each of its tests. It drops every PIP_* variable and proxy on the way
and bootstraps pip from a host of its own, so behind a mirror or a proxy it never starts. It runs here with a
private home that holds pip's effective configuration and a bootstrap that takes pip from Python's `ensurepip`.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools.assemble_collection import ROOT, assemble
from tools.testsuite.steps import Stage, tool

BOOTSTRAP = '''"""Stands where ansible-test expects get-pip.py: pip from ensurepip, then the packages asked for."""
import subprocess
import sys

# In a process of its own: ensurepip switches pip's configuration off for the process that it runs in.
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "pip", "install", *words], check=True)
'''


def pip_settings(listing: str) -> dict[str, str]:
    """Settings from `pip config list`, whose lines read `scope.key='value'`; the environment's come last and win."""
    settings = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if value:
            settings[key] = str(ast.literal_eval(value))
    return settings


def pip_configuration(settings: dict[str, str], environment: Mapping[str, str]) -> str:
    """The text of a pip.conf with these settings and the proxy of the environment."""
    proxy = environment.get("https_proxy") or environment.get("HTTPS_PROXY")
    merged = {**({"proxy": proxy} if proxy else {}), **settings}
    lines = [f"{key} = " + "\n    ".join(value.split()) for key, value in sorted(merged.items())]
    return "\n".join(["[global]", *lines, ""])


def bootstrap_names(source: str) -> list[str]:
    """File names under which ansible-test caches its pip bootstrap, from the source that names the version.

    Raises ValueError when the source does not name one (another ansible-test than this was written for).
    """
    versions = re.findall(r"\bpip='(\d+(?:\.\d+)+)'", source)
    if not versions:
        raise ValueError("ansible-test no longer names its version of pip where tools/testsuite/sanity.py looks")
    return [f"get_pip_{version.replace('.', '_')}.py" for version in versions]


def installed_source() -> str:
    """The part of the installed ansible-test that names its version of pip."""
    package = importlib.util.find_spec("ansible_test")
    if package is None or not package.submodule_search_locations:
        raise ValueError("ansible-test is not installed: script/bootstrap --dev")
    return (Path(package.submodule_search_locations[0]) / "_internal" / "python_requirements.py").read_text()


def prepare_home(home: Path) -> None:
    """Write the private home: pip's configuration (it may hold a password) and the bootstrap of pip."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    configuration = home / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.touch(mode=0o600)
    configuration.write_text(pip_configuration(pip_settings(listing), os.environ), encoding="utf-8")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in bootstrap_names(installed_source()):
        (cache / name).write_text(BOOTSTRAP, encoding="utf-8")


def run(stage: Stage) -> None:
    """Assemble the collection, then run ansible-test and antsibull-docs over it, without ignore files."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "mi50-aipc" / "ansible-test"
    home = cache / f"{sys.version_info.major}.{sys.version_info.minor}"
    prepare_home(home)
    with tempfile.TemporaryDirectory(prefix="mi50-collection-") as directory:
        collection = assemble(ROOT, Path(directory))
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stage.command(
            "ansible-test sanity",
            [tool("ansible-test"), "sanity", "--color", "no", "--python", version, "--requirements", "--truncate", "0"],
            cwd=collection,
            findings="^(ERROR|FATAL)",
            environment={"HOME": str(home)},
        )
        stage.command(
            "antsibull-docs",
            [tool("antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", str(collection)],
            environment={"ANSIBLE_COLLECTIONS_PATH": directory},
        )
