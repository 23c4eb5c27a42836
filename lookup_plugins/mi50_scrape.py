# Copyright: (c) 2026, mi50-aipc contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup of what the monitoring host is told, from the whole inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mi50_scrape
short_description: Prometheus' configuration from the inventory
version_added: "0.1.0"
author: mi50-aipc contributors (@mi50-aipc)
description:
  - Derives from the variables of all nodes whom Prometheus asks, checks that each can be reached and that no two
    programs claim one port, and adds the role's rules and dashboards.
  - Connects to nothing. A node that is down stays in the configuration, since that is when it matters.
options:
  _terms:
    description: C(server) for the monitoring host's configuration.
    required: true
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show whom Prometheus would ask
  ansible.builtin.debug:
    msg: "{{ lookup('mi50_scrape', 'server').targets }}"
"""

RETURN = r"""
_raw:
  description:
    - A mapping with C(files) and C(secrets) by path, C(keys) (a list of C(host) and its C(files), path by name),
      C(dashboards) (files) and C(targets).
  type: list
  elements: raw
"""

import json
from pathlib import Path
from typing import Any

import ansible.module_utils
import yaml
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.addresses import joined, local
from ansible.module_utils.mi50.monitor import config, scrape

_ROLES = _CHECKOUT / "roles"
_FILES = _ROLES / "monitoring" / "files"
DASHBOARDS = "/usr/local/share/mi50-aipc/grafana"
# Roles whose defaults say where something listens unless the inventory does.
_LISTENING = (*scrape.ENGINES, "monitoring", "gateway")


def defaults() -> dict[str, Any]:
    """Plain values of the roles' defaults; templates are left out, which only follow from what the inventory says."""
    found: dict[str, Any] = {}
    for role in _LISTENING:
        path = _ROLES / role / "defaults" / "main.yml"
        values = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
        found |= {name: value for name, value in values.items() if "{{" not in str(value)}
    return found


def dashboards() -> list[dict[str, str]]:
    """The dashboards as files of the monitoring host, the fan daemon's own among them."""
    found = [*sorted((_FILES / "grafana").glob("*.json")), _ROLES / "fan_control/files/grafana/mi50-fans.json"]
    return [{"path": f"{DASHBOARDS}/{path.name}", "content": path.read_text("utf-8")} for path in found]


class LookupModule(LookupBase):
    """`lookup('mi50_scrape', 'server')`."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: object) -> list[Any]:
        """Return what is asked for. Raises AnsibleError with everything that is wrong with the inventory."""
        self._given = variables or {}
        self._defaults = defaults()
        try:
            return [self._server() for _term in terms]
        except (scrape.ScrapeError, config.ReceiverError) as error:
            raise AnsibleError(str(error)) from error

    def _server(self) -> dict[str, Any]:
        here, interval = str(self._given["inventory_hostname"]), int(self._value("scrape_interval"))
        receivers = self._value("receivers")
        port, alertmanager = int(self._value("server_port")), int(self._value("alertmanager_port"))
        own = {"monitoring_server_port": port, **({"monitoring_alertmanager_port": alertmanager} if receivers else {})}
        wishes = scrape.Wishes(here, self._value("nodes"), self._value("engines"), own)
        groups = self._given["groups"]
        gateways = self._hosts(groups.get(str(self._value("gateway_group")), []))
        nodes = self._hosts(groups.get("mi50_nodes", []))
        found = scrape.targets(nodes, gateways, wishes, self._defaults)
        bind = str(self._value("server_bind"))
        mine = joined(local(bind), port)
        text = config.prometheus(found, interval, mine, alertmanager if receivers else 0)
        rules = {f"{config.RULES}/{path.name}": path.read_text("utf-8") for path in sorted(_FILES.glob("rules/*.yml"))}
        return {
            "files": {config.PROMETHEUS: text, **rules, **self._extra()},
            "secrets": {config.ALERTMANAGER: config.alertmanager(receivers)} if receivers else {},
            "keys": scrape.key_files(found, nodes, self._defaults),
            "dashboards": dashboards(),
            "listen": joined(bind, port),
            "own": mine,
            "targets": [{"job": one.job, "instance": one.host, "address": one.address} for one in found],
        }

    def _extra(self) -> dict[str, str]:
        found = {}
        for name in self._value("extra_rules"):
            path = Path(str(name)).expanduser()
            if not path.is_file():
                raise AnsibleError(f"monitoring_extra_rules names {name}, which is no file on this machine")
            found[f"{config.RULES}/extra-{path.name}"] = path.read_text("utf-8")
        return found

    def _hosts(self, names: list[str]) -> list[scrape.Host]:
        wanted = [name for role in _LISTENING for name in self._defaults if name.startswith(f"{role}_")]
        wanted += ["mi50_engines", "monitoring_enabled"]
        hosts = []
        for name in names:
            seen = self._given["hostvars"][name]
            # Only what is asked for: reading a variable evaluates its templates.
            variables = {one: seen[one] for one in wanted if one in seen}
            address = str(seen.get("monitoring_address") or seen.get("ansible_host") or name)
            hosts.append(scrape.Host(str(name), address, variables))
        return hosts

    def _own(self, name: str) -> Any:  # noqa: ANN401 - whatever the variable holds
        value = self._templar.template(self._given[name]) if name in self._given else None
        return self._defaults.get(name) if value is None else value

    def _value(self, name: str) -> Any:  # noqa: ANN401 - whatever the variable holds
        """A variable of the role, as plain data: the template engine's own types are none."""
        return json.loads(json.dumps(self._own(f"monitoring_{name}"), default=str))
