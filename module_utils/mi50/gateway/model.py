"""What a gateway is. Data only; times in seconds, sizes in bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..addresses import joined

UNIT = "mi50-gateway.service"
USER = "mi50-gateway"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
PROGRAM = "/usr/sbin/haproxy"
PACKAGES = {PROGRAM: "haproxy", "/usr/bin/openssl": "openssl"}
# What HAProxy reads, the service user's alone; the clients' own keys and the pair of `seal` are root's.
FOLDER = "/etc/mi50-aipc/gateway"
CLIENT_KEYS = "/etc/mi50-aipc/keys/gateway"
PAIR = "/etc/mi50-aipc/keys/gateway.pem"
STATE = "/var/lib/mi50-aipc/gateway/servers"
RUN = "/run/mi50-gateway"
MASTER = f"{RUN}/master.sock"
LOCK = "/run/mi50-aipc/gateway.lock"

# What a request may call a model: it stands in map files, in HAProxy's configuration and in JSON.
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
# HAProxy's names of proxies and servers.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")
CLIENT_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


class GatewayError(Exception):
    """Something a person has to mend; the text names what, its value and the way out."""


@dataclass(frozen=True)
class Engine:
    """One server behind the gateway.

    kind: how it is asked whether it is ready: the name of an engine's role, or `openai` for any other server.
    models: names that requests carry. key: where its API key is: `node` (a file of its node, fetched sealed), `file`
    (a file of the gateway's host) or "" for none. slots: requests at a time, 0 for no limit; the others wait here.
    """

    name: str
    node: str
    kind: str
    address: str
    port: int
    models: tuple[str, ...]
    key: str = ""
    key_file: str = ""
    slots: int = 0

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Engine:
        """Return the engine of a mapping as `derive` makes it."""
        return cls(**{**found, "models": tuple(found["models"])})

    @property
    def where(self) -> str:
        """Address and port as HAProxy writes them."""
        return joined(self.address, self.port)


@dataclass(frozen=True)
class Settings:
    """What is asked of the gateway itself. `certificate`, `certificate_key`: files of its host; empty: plain HTTP."""

    bind: str = "127.0.0.1"
    port: int = 8800
    metrics_bind: str = "127.0.0.1"
    metrics_port: int = 8405
    certificate: str = ""
    certificate_key: str = ""
    clients: tuple[str, ...] = ("default",)
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_body: int = 1 << 20
    max_connections: int = 512
    timeout: int = 3600
    queue_timeout: int = 600
    check_interval: int = 2
