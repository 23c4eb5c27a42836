"""Make root `library/` and `module_utils/` importable the way Ansible does it on a node."""

from __future__ import annotations

import importlib.util
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import ansible.module_utils
import pytest

ROOT = Path(__file__).resolve().parent.parent
# `from ansible.module_utils.mi50...` in library/ resolves to module_utils/mi50, without a PYTHONPATH trick.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))


def load_plugin(kind: str, name: str) -> ModuleType:
    """Import library/NAME.py, action_plugins/NAME.py or lookup_plugins/NAME.py from the checkout."""
    qualified = f"mi50_plugins.{kind}.{name}"
    if qualified in sys.modules:
        return sys.modules[qualified]
    spec = importlib.util.spec_from_file_location(qualified, ROOT / kind / f"{name}.py")
    assert spec and spec.loader, f"no such plugin: {kind}/{name}.py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _own_opener() -> Iterator[None]:
    """Undo what ansible's open_url does: its opener, with the proxies of that moment, serves the whole process."""
    yield
    urllib.request.install_opener(None)  # what urllib itself starts with


@pytest.fixture
def plugin() -> Callable[[str, str], ModuleType]:
    return load_plugin


@pytest.fixture
def repo_root() -> Path:
    return ROOT
