"""Environments of engines that are Python packages: a venv a version, on top of the torch that the role pytorch keeps.

An environment is never changed once it is whole. A new wheel, other requirements or another torch make a new one beside
it, so that what serves goes on serving, and what served before can be gone back to. It refers to a generation of torch
(`.torch/2.9.0-rocm6.4.1`), not to the name of the one in use, which moves with upgrades.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..torchenv import dists
from ..torchenv.children import pip_conf
from ..torchenv.model import CONSTRAINTS, PTH, RECORD, TRITONS
from ..torchenv.pip import remedy, words
from . import systemd
from .model import Later, Node, ServeError

ROOT = "/opt/mi50-aipc/{}"
CACHE = "/var/cache/mi50-aipc/{}"
MARK = ".mi50-engine.json"
SPEC: dict[str, dict[str, Any]] = {
    "torch": {"type": "path", "default": "/opt/mi50-aipc/venvs/torch"},
    "wheel": {"type": "path", "default": ""},
    "wheel_sha256": {"type": "str", "default": ""},
    "requirements": {"type": "list", "elements": "str", "default": []},
    "pypi": {"type": "str", "default": ""},
    "environment_bytes": {"type": "int", "default": 8000000000},
    "proof_only": {"type": "list", "elements": "str", "default": []},
}
_SECONDS = 4 * 3600.0
_CHUNK = 1 << 20


class Wanted(NamedTuple):
    """An environment. `torch`: the shared environment's generation; `requirements`: pins beside the wheel's own.

    `code`: modules of this project that the engine loads, file name and text.
    """

    name: str
    wheel: str
    sha256: str
    torch: str
    requirements: tuple[str, ...]
    code: tuple[tuple[str, str], ...]
    pypi: str = ""

    @property
    def version(self) -> str:
        """The wheel's version, from its name (PEP 427)."""
        return self.wheel.rpartition("/")[2].split("-")[1]

    @property
    def path(self) -> str:
        """Where it lies: a folder for each combination of what it is made of."""
        parts = json.dumps([self.sha256, self.torch, sorted(self.requirements), self.code])
        return f"{ROOT.format(self.name)}/{self.version}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return f"{self.path}/bin/python"


def wanted(
    name: str, options: Mapping[str, Any], code: Sequence[tuple[str, str]], node: Node
) -> tuple[Wanted | None, list[str]]:
    """Return the environment that options ask for, or why there can be none. Reads the node, changes nothing."""
    problems: list[str] = []
    link = node.path(options["torch"])
    # On the node the name leads below its own root; a test's root is somewhere else.
    torch = Path(options["torch"]).parent / link.readlink() if link.is_symlink() else Path(options["torch"])
    if not node.path(f"{torch}/{RECORD}").is_file():
        problems.append(
            Later(f"{options['torch']} is no environment of the role pytorch: {name} takes its torch from there")
        )
    elif not _triton(node.path(str(torch))):
        problems.append(
            Later(f"{options['torch']} has no triton: have the role build_once make triton-gfx906, pytorch put it in")
        )
    wheel = options["wheel"]
    if not wheel:
        problems.append(Later(f"there is no wheel of {name} yet: the role build_once makes it (or give {name}_wheel)"))
    elif not node.path(wheel).is_file():
        problems.append(f"{name}_wheel is {wheel}, which is not on this node")
    elif not wheel.endswith(".whl") or wheel.rpartition("/")[2].count("-") < 4:
        problems.append(f"{name}_wheel is {wheel}, which has no wheel's name")
    if problems:
        return None, problems
    given = options["wheel_sha256"]
    want = Wanted(name, wheel, given, str(torch), tuple(options["requirements"]), tuple(code), options["pypi"])
    # A wheel that is installed already is not read again; it has hundreds of megabytes.
    if given and whole(want, node):
        return want, []
    found = _sha256(node.path(wheel))
    if given not in ("", found):
        return None, [f"{wheel}: its sha256 is {found}, expected {given}: damaged, or another build"]
    return want._replace(sha256=found), []


def whole(want: Wanted, node: Node) -> bool:
    """Whether it is there, finished."""
    try:
        found = json.loads(node.path(f"{want.path}/{MARK}").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found.get("sha256") == want.sha256)


def make(want: Wanted, node: Node) -> None:
    """Make it, beside the others. Raises ServeError: then it is gone again, and what serves was not touched."""
    if whole(want, node):
        return
    folder = node.path(want.path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        node.say(f"making the environment {want.path}")
        _run(node, [f"{want.torch}/bin/python", "-I", "-m", "venv", want.path], f"{want.path} cannot be made")
        site = next(folder.glob("lib/python3*/site-packages"))
        shared = Path(want.torch) / site.relative_to(folder)
        (site / PTH).write_text(f"import site; site.addsitedir({str(shared)!r})\n", encoding="utf-8")
        (folder / "pip.conf").write_text(pip_conf(Path(want.torch)), encoding="utf-8")
        for name, text in want.code:
            (site / name).write_text(text, encoding="utf-8")
        node.say(f"installing {want.wheel.rpartition('/')[2]} and what it needs")
        _pip(want, node, ["install", *_index(want), want.wheel, *want.requirements])
        _undisturbed(want, site)
        _pip(want, node, ["check"])
        frozen = _pip(want, node, ["freeze", "--all"]).split("\n")
        made_of = {"wheel": want.wheel, "sha256": want.sha256, "torch": want.torch}
        content = {**made_of, "frozen": [line for line in frozen if line]}
        (folder / MARK).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except (ServeError, OSError, StopIteration) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ServeError):
            raise
        raise ServeError(f"{want.path} cannot be made: {error}. What serves was not touched.") from error


def prune(name: str, keep: Sequence[str], node: Node) -> None:
    """Remove environments of an engine, and what they compiled, but those kept."""
    names = {path.rpartition("/")[2] for path in keep}
    # Caches of other programs (those of images) have other names.
    for folder, pattern in ((ROOT.format(name), "*"), (CACHE.format(name), "*-" + "[0-9a-f]" * 12)):
        for path in node.path(folder).glob(pattern):
            if path.name not in names:
                shutil.rmtree(path, ignore_errors=True)


def remove(name: str, node: Node) -> list[str]:
    """Remove all environments, caches and state of an engine; returns what was removed."""
    paths = [ROOT.format(name), CACHE.format(name), f"/var/lib/mi50-aipc/{name}"]
    gone = [path for path in paths if node.path(path).exists()]
    for path in gone:
        shutil.rmtree(node.path(path))
    return gone


def watched(want: Wanted, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Files whose change means that the service rests on something else: the environment, and the torch in use."""
    return (f"{want.path}/{MARK}", f"{options['torch']}/{RECORD}")


def environment(want: Wanted) -> dict[str, str]:
    """What such an engine's process gets: caches of this environment alone, no calls home, no way out but its port."""
    cache = CACHE.format(want.name)
    own = f"{cache}/{want.path.rpartition('/')[2]}"
    return {
        "HOME": cache,
        "XDG_CACHE_HOME": own,
        "TRITON_CACHE_DIR": f"{own}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{own}/inductor",
        "MIOPEN_USER_DB_PATH": f"{own}/miopen",
        "PATH": f"{want.path}/bin:/usr/local/bin:/usr/bin:/bin",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        # Where several cards' processes meet: not on the network's addresses (torch.distributed, RCCL).
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        "HIP_FORCE_DEV_KERNARG": "1",
    }


def proof(want: Wanted, cards: int, only: Sequence[str]) -> tuple[str, ...]:
    """Return the command of the compute proof in this environment: products on every card, compared with the CPU's."""
    found = ["/usr/bin/env", "PYTHONPATH=/usr/local/lib/mi50-aipc/compute", want.python, "-m", "mi50_compute"]
    found += ["--device", "auto", "--expect-gpus", str(cards)] if cards else ["--device", "cpu"]
    return (*found, *(["--only", ",".join(only)] if only else []))


def _triton(torch: Path) -> bool:
    """Whether the shared environment has a triton that runs; the one without code is called `+absent`."""
    sites = list(torch.glob("lib/python3*/site-packages"))
    found = dists.versions(dists.installed(sites[0])) if len(sites) == 1 else {}
    return any(name in found and not found[name].endswith("+absent") for name in TRITONS)


def _undisturbed(want: Wanted, site: Path) -> None:
    """Raise ServeError when pip put a torch or triton of its own into the environment, over the shared one."""
    own = dists.versions(dists.installed(site))
    found = [f"{name} {own[name]}" for name in ("torch", "torchvision", "torchaudio", *TRITONS) if name in own]
    if found:
        raise ServeError(
            f"{want.wheel.rpartition('/')[2]} or its requirements brought {', '.join(found)} over the torch of "
            f"{want.torch}, whose {CONSTRAINTS} forbids it: look at {want.name}_requirements"
        )


def _index(want: Wanted) -> list[str]:
    # Wheels only: a source distribution would run code of its own as root.
    found = ["--only-binary=:all:", "--progress-bar=off"]
    if want.pypi:
        found += ["--index-url", want.pypi]
        host = want.pypi.partition("//")[2].partition("/")[0].partition(":")[0]
        found += ["--trusted-host", host] if want.pypi.startswith("http://") else []
    return found


def _pip(want: Wanted, node: Node, arguments: Sequence[str]) -> str:
    own = ["env", "-u", "PIP_CONSTRAINT", "-u", "PYTHONPATH", "-u", "VIRTUAL_ENV", "LC_ALL=C.UTF-8", "PIP_NO_INPUT=1"]
    own += ["PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore", want.python, "-I", "-m", "pip"]
    return _run(node, [*own, *arguments], f"{want.name}: pip {arguments[0]} in {want.path} failed")


def _run(node: Node, argv: Sequence[str], doing: str) -> str:
    done = systemd.run(node, argv, _SECONDS)
    text = (done.output + b"\n" + done.errors).decode(errors="replace")
    if done.code:
        way = remedy(text).replace("pytorch_root", "the file system").replace("environment in use", "version in use")
        raise ServeError(f"{doing}: {words(text)} {way}")
    return done.output.decode(errors="replace")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()
