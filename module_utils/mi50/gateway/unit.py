"""The unit of the gateway: HAProxy of the distribution, as a user of its own that can do nothing else.

A unit of its own and no drop-in of `haproxy.service`: a HAProxy that serves something else on that host stays as it is.
"""

from __future__ import annotations

from ..serve.unit import SANDBOX
from .model import FOLDER, MASTER, PROGRAM, RUN, USER, Settings
from .render import HEAD

_TEXT = """\
[Unit]
Description=mi50-aipc gateway: one endpoint for all nodes (HAProxy)
Documentation=man:haproxy(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
User={user}
Group={user}
RuntimeDirectory={run}
RuntimeDirectoryMode=0700
ExecStart={program} -Ws -f {folder}/haproxy.cfg -S {master},mode,600
# A configuration that does not hold is refused here, and what serves goes on.
ExecReload={program} -c -q -f {folder}/haproxy.cfg
ExecReload=/bin/kill -USR2 $MAINPID
KillMode=mixed
SuccessExitStatus=143
Restart=always
RestartSec=2
LimitNOFILE={files}
{sandbox}
[Install]
WantedBy=multi-user.target
"""


def text(settings: Settings) -> str:
    """The unit's file."""
    low = any(port < 1024 for port in (settings.port, settings.metrics_port))
    capability = "CAP_NET_BIND_SERVICE" if low else ""
    lines = [(name, value if name != "CapabilityBoundingSet" else capability) for name, value in SANDBOX]
    lines += [("AmbientCapabilities", capability)] if low else []
    lines += [("PrivateDevices", "yes"), ("MemoryDenyWriteExecute", "yes"), ("ProtectProc", "invisible")]
    return HEAD + _TEXT.format(
        user=USER,
        run=RUN.rpartition("/")[2],
        program=PROGRAM,
        folder=FOLDER,
        master=MASTER,
        # Each request has a client, two ends of the hop inside, and an engine; a reload has old and new ones.
        files=settings.max_connections * 16 + 1024,
        sandbox="".join(f"{name}={value}\n" for name, value in lines),
    )
