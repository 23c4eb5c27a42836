"""Renders a service's files: unit, health unit, timer, configuration of the health program. Data in, text out.

Nothing here may hold a secret: units, environments and configurations can be read by everybody on the node.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePosixPath

from ..config_files import File as Wanted
from . import health, pictures, probe
from .model import (
    CONFIG,
    HEALTH_TIMER,
    HEALTH_UNIT,
    PROGRAM,
    PROGRAM_DIR,
    RUN_DIR,
    STATE_DIR,
    Node,
    Service,
)

HEAD = "# Managed by Ansible (mi50-aipc, service {name}); changes are overwritten.\n"
UNITS = "/etc/systemd/system"
Lines = list[tuple[str, str]]
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@+=:,./-")

# What no language model server needs. Not here: MemoryDenyWriteExecute, which Mesa's and Triton's compilers break on.
SANDBOX: tuple[tuple[str, str], ...] = (
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
    ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"),
    ("CapabilityBoundingSet", ""),
    ("UMask", "0077"),
)


def render(service: Service, node: Node) -> list[Wanted]:
    """Return every file of the service but the key: unit, health unit, timer, configuration, the engine's own.

    The health program itself is among them; it is the same for all services.
    """
    texts = {
        f"{UNITS}/{service.unit_name}": unit(service, node),
        f"{UNITS}/{HEALTH_UNIT.format(service.name)}": health_unit(service),
        f"{UNITS}/{HEALTH_TIMER.format(service.name)}": health_timer(service),
        CONFIG.format(service.name): configuration(service, node),
    }
    wanted = [Wanted(node.path(path), text) for path, text in texts.items()]
    wanted += [Wanted(node.path(path), text, mode) for path, (text, mode) in program().items()]
    return wanted + [Wanted(node.path(file.path), file.content, file.mode) for file in service.files]


def unit(service: Service, node: Node) -> str:
    """The text of `mi50-<role>.service`."""
    general: Lines = [
        ("Description", _one_line(service.description)),
        ("After", "network.target systemd-modules-load.service"),
        # Five starts in ten minutes and it stays down, failed, for somebody to look at.
        ("StartLimitIntervalSec", "600"),
        ("StartLimitBurst", "5"),
        *service.unit,
    ]
    text = HEAD.format(name=service.name) + _section("Unit", general)
    return (
        text + _section("Service", properties(service, node)) + _section("Install", [("WantedBy", "multi-user.target")])
    )


def properties(service: Service, node: Node) -> Lines:
    """The lines of [Service]; those of `service.properties` replace the contract's of the same name."""
    lines: Lines = [
        ("Type", "exec"),
        ("User", service.user),
        ("SupplementaryGroups", " ".join(service.groups)),
        *(("Environment", quote(f"{name}={value}")) for name, value in sorted(service.environment.items())),
        *(("ExecStartPre", command(argv)) for argv in service.before),
        ("ExecStart", command(service.start)),
        *(("ExecStartPost", command(argv)) for argv in service.after),
        *(("ExecStop", command(argv)) for argv in service.stop),
        ("Restart", "always"),
        ("RestartSec", "2"),
        ("TimeoutStartSec", f"{service.probe.load_timeout:.0f}"),
        ("TimeoutStopSec", "30"),
        ("OOMPolicy", "stop"),
        *SANDBOX,
        *devices(service, node),
        *((kind, names) for kind, names in _directories(service)),
        *(("BindReadOnlyPaths", path) for path in service.read),
    ]
    replaced = {name for name, dummy in service.properties}
    kept = [line for line in lines if line[0] not in replaced]
    # An empty value only takes a line of the contract away, but for the settings where empty has a meaning.
    own = [line for line in service.properties if line[1] or line[0] == "CapabilityBoundingSet"]
    return [*kept, *own]


def devices(service: Service, node: Node) -> Lines:
    """The device files that may be opened: the chosen cards' render nodes, and those the engine names (/dev/kfd).

    Other cards' nodes cannot be opened, so that the first device of any engine is a chosen one, whatever its index.
    """
    names = [str(node.dev / "dri" / gpu.render.rpartition("/")[2]) for gpu in service.gpus if gpu.render]
    lines: Lines = [("DevicePolicy", "closed")]
    return lines + [("DeviceAllow", f"{name} rw") for name in [*names, *service.devices]]


def health_unit(service: Service) -> str:
    """The text of the unit that the timer starts. Root's, since it starts another unit anew; it may do little else."""
    name = service.name
    lines: Lines = [
        ("Type", "oneshot"),
        ("ExecStart", command((PROGRAM, "check", CONFIG.format(name)))),
        ("TimeoutStartSec", f"{3 * service.probe.answer_timeout + 6 * service.probe.live_timeout + 120:.0f}"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ReadWritePaths", f"-{STATE_DIR.format(name)}"),
        ("RuntimeDirectory", RUN_DIR[len("/run/") :]),
        ("RuntimeDirectoryPreserve", "yes"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("CapabilityBoundingSet", "CAP_DAC_OVERRIDE"),
        ("Nice", "5"),
    ]
    head = [("Description", f"Does {name} answer, on the GPU?"), ("After", service.unit_name)]
    return HEAD.format(name=name) + _section("Unit", head) + _section("Service", lines)


def health_timer(service: Service) -> str:
    """The text of the timer."""
    every = service.probe.interval
    lines = [("OnActiveSec", f"{every}s"), ("OnUnitInactiveSec", f"{every}s"), ("AccuracySec", "1s")]
    head = [("Description", f"Look every {every} s whether {service.name} answers")]
    text = HEAD.format(name=service.name) + _section("Unit", head) + _section("Timer", lines)
    return text + _section("Install", [("WantedBy", "timers.target")])


def configuration(service: Service, node: Node) -> str:
    """The health program's configuration."""
    content = {
        "name": service.name,
        "unit": service.unit_name,
        "port": service.port,
        "key_file": service.key.path,
        "gpus": [gpu.pci for gpu in service.gpus],
        "sysfs_root": str(node.sysfs),
        "state_dir": STATE_DIR.format(service.name),
        "run_dir": RUN_DIR,
        "facts": dict(service.facts),
        **asdict(service.probe),
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def program() -> dict[str, tuple[str, int]]:
    """The health program's files, path to (text, mode): the very modules that prove readiness here."""
    start = python("mi50_serve.health", PROGRAM_DIR.rpartition("/")[0])
    files = {PROGRAM: (start, 0o755), f"{PROGRAM_DIR}/__init__.py": ("", 0o644)}
    for module in (health, pictures, probe):
        files[f"{PROGRAM_DIR}/{module.__name__.rpartition('.')[2]}.py"] = (inspect.getsource(module), 0o644)
    return files


def python(module: str, folder: str) -> str:
    """Text of a program that runs `main` of a module in `folder`, and nothing of the node's other Python."""
    return f"""#!/usr/bin/python3 -I
# Managed by Ansible (mi50-aipc); changes are overwritten.
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, "{folder}")

from {module} import main

raise SystemExit(main(sys.argv[1:]))
"""


def command(argv: Sequence[str]) -> str:
    """One Exec line; nothing in it is expanded."""
    return " ".join(quote(word) for word in argv)


def quote(word: str) -> str:
    """A word as systemd's syntax wants it: specifiers, variables, quotes and spaces mean themselves.

    Source: systemd.syntax(7), systemd.service(5) "COMMAND LINES".
    """
    text = word.replace("%", "%%").replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text if text and set(text) <= _PLAIN else f'"{text}"'


def hidden(path: str) -> bool:
    """Whether the sandbox hides a path (ProtectHome=, PrivateTmp=), so that it has to be bound."""
    parts = PurePosixPath(path).parts[1:]
    return parts[:1] in (("home",), ("root",), ("tmp",)) or parts[:2] == ("var", "tmp")


def _directories(service: Service) -> Lines:
    """State and cache directories, made by systemd for the service's user; the others are read-only."""
    kinds = {"/var/lib/": "StateDirectory", "/var/cache/": "CacheDirectory", "/run/": "RuntimeDirectory"}
    lines: Lines = []
    for path in service.write:
        for prefix, kind in kinds.items():
            if path.startswith(prefix):
                lines.append((kind, path[len(prefix) :]))
                break
        else:
            raise ValueError(f"a service cannot write to {path}: only below {', '.join(kinds)}")
    return [*lines, ("StateDirectoryMode", "0750"), ("CacheDirectoryMode", "0750")]


def _section(name: str, lines: Sequence[tuple[str, str]]) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in lines) + "\n" * (name != "Install")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("%", "%%")
