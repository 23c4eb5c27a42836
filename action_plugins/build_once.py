# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin: artifacts that are compiled on one host of the run and handed to all that can use them.

Documented in library/build_once.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible offers root module_utils to modules only; plugins on the controller need the path as well.
_CHECKOUT = Path(__file__).resolve().parent.parent
if str(_CHECKOUT / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(_CHECKOUT / "module_utils"))

from ansible.module_utils.mi50.build import elect, follow, question, recipe, share, store
from ansible.module_utils.mi50.build import key as keys
from ansible.module_utils.mi50.build.cache import Cache, run_id

_ARGUMENTS = {
    "state": {"type": "str", "choices": ["looked", "electable", "present"], "default": "present"},
    "stack": {"type": "dict", "required": True},
    "builds": {"type": "list", "elements": "str", "required": True},
    "overrides": {"type": "dict", "default": {}},
    "pin": {"type": "dict", "default": {}},
    "answers": {"type": "str", "default": ""},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "dir": {"type": "path", "default": "/var/cache/mi50-aipc/builds"},
    "work_dir": {"type": "path", "default": "/var/lib/mi50-aipc/build"},
    "cache_dir": {"type": "path", "required": True},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "jobs": {"type": "int", "default": 0},
    "memory_mib": {"type": "int", "default": 0},
    "keep": {"type": "int", "default": 2},
    "sandbox": {"type": "bool", "default": True},
    "environment": {"type": "dict", "default": {}},
    "poll": {"type": "float", "default": 2},
    "show": {"type": "float", "default": 10},
    "lost_timeout": {"type": "float", "default": 900},
}


class ActionModule(ActionBase):
    """`build_once: {stack: {...}, builds: [triton], answers: __look, cache_dir: ...}`."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look, or have every build on this host. Raises AnsibleActionFail."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        dummy, given = self.validate_argument_spec(_ARGUMENTS)
        self._variables, self._given, self._parent = task_vars or {}, given, os.getppid()
        self.name = str(self._variables["inventory_hostname"])
        self._cache = Cache(Path(given["cache_dir"]).expanduser(), run_id())
        try:
            recipes = {name: self._recipe(name) for name in given["builds"]}
            if given["state"] == "looked":
                return {**result, **self.job("look", **self._question(recipes))}
            if given["state"] == "electable":
                return {**result, **self._electable(recipes)}
            return {**result, **self._present(recipes)}
        except follow.NodeLost as exc:
            raise AnsibleConnectionFailure(f"{self.name}: {exc}") from exc
        except (recipe.RecipeError, share.ShareFailed, store.StoreError, follow.NodeProblem) as exc:
            raise AnsibleActionFail(str(exc)) from exc
        except OSError as exc:
            raise AnsibleActionFail(f"on the controller: {exc.filename or self._cache.root}: {exc.strerror}") from exc

    def _recipe(self, name: str) -> recipe.Recipe:
        return recipe.resolve(
            self._given["stack"], name, self._given["overrides"].get(name, {}), _CHECKOUT / recipe.PATCHES
        )

    def _question(self, recipes: dict[str, recipe.Recipe]) -> dict[str, Any]:
        builds = [recipe.asked(one, self._given["pin"].get(one.name, "")) for one in recipes.values()]
        return {"builds": builds, **{name: self._given[name] for name in ("dir", "work_dir", "python")}}

    def _electable(self, recipes: dict[str, recipe.Recipe]) -> dict[str, Any]:
        """Refuse what no host of this run could build. Raises ShareFailed."""
        for name, one in recipes.items():
            answers = self._answers(name)
            sharing = share.Share(self, self._cache, self._order(one, answers[self.name]), answers, self._given["keep"])
            would = sharing.plan()
            if would["from"] == "nobody":
                raise share.ShareFailed(f"{name} {one.version}: {would['why'].removeprefix('fail: ')}")
        return {"changed": False}

    def _present(self, recipes: dict[str, recipe.Recipe]) -> dict[str, Any]:
        self._cache.sweep()
        found: dict[str, Any] = {}
        plan, changed = [], False
        for name, one in recipes.items():
            answers = self._answers(name)
            sharing = share.Share(self, self._cache, self._order(one, answers[self.name]), answers, self._given["keep"])
            if self._task.check_mode:
                would = sharing.plan()
                changed = changed or not would["held"]
                plan.append(f"{name}: {would['why'] or 'nothing, it is there'}")
                found[name] = self._shown(answers[self.name], would["from"])
                if not would["held"]:
                    self.say(f"{name}: would {would['why']}")
                continue
            done = sharing.have()
            changed = changed or not answers[self.name]["held"]
            manifest, file = done["manifest"], done["manifest"]["files"][0]
            path = f"{self._given['dir']}/{manifest['key']}/{file['name']}"
            about = {"key": manifest["key"], "version": manifest["version"], "builder": manifest.get("builder", "")}
            found[name] = {"path": path, "sha256": file["sha256"], "size": file["size"], "from": done["from"], **about}
        shown = {"diff": {"before": "", "after": "".join(f"{line}\n" for line in plan)}} if plan and changed else {}
        return {"changed": changed, "builds": found, **shown}

    def _shown(self, answer: dict[str, Any], source: str) -> dict[str, Any]:
        """What check mode returns: paths only of what is there."""
        held = {name: answer.get(name, "") for name in ("path", "sha256", "version")}
        return {**held, "size": answer.get("size", 0), "key": answer["key"], "builder": "", "from": source}

    def _answers(self, name: str) -> dict[str, Any]:
        """What the hosts of this run said of a build. Raises StoreError for a pin that is not in the cache."""
        allowed = self._given["hosts"]
        found = {}
        hosts = self._variables["hostvars"]
        for host in self._variables["ansible_play_batch"]:
            looked = hosts[host].get(self._given["answers"], {})
            one = dict(looked.get("builds", {}).get(name) or {})
            if one and allowed and host not in allowed and one["state"] == elect.NOTHING:
                one["unsuitable"] = "is not among build_once_hosts"
            if one:
                found[host] = one
        if self.name not in found:
            raise AnsibleActionFail(f"build_once: {self.name} was not looked at: run state=looked on it first")
        pin = str(self._given["pin"].get(name, ""))
        if pin and not found[self.name]["held"]:
            found[self.name] = self._pinned(name, pin, found[self.name])
        return found

    def _pinned(self, name: str, pin: str, mine: dict[str, Any]) -> dict[str, Any]:
        key = self._cache.pinned(name, pin)
        manifest = self._cache.manifest(key) or {"parts": {}}
        wrong = [part for part in keys.HOST_PARTS if manifest["parts"].get(part) != mine["parts"][part]]
        if wrong:
            how = ", ".join(
                keys.differences(mine["parts"], {**mine["parts"], **{p: manifest["parts"][p] for p in wrong}})
            )
            raise store.StoreError(f"build_once_pin: {name}: {key[:12]} does not fit {self.name}: it has {how}")
        return {**mine, "key": key, "parts": manifest["parts"]}

    def _order(self, one: recipe.Recipe, mine: dict[str, Any]) -> follow.Order:
        given = self._given
        pin = str(given["pin"].get(one.name, ""))
        if pin and not mine["held"]:
            mine = self._pinned(one.name, pin, mine)
        jobs = given["jobs"] or elect.jobs(mine["cores"], mine["memory_mib"], one.need["job_mib"])
        folder = question.job_folder(Path(given["work_dir"]), one.name, mine["key"])
        job = {
            **one.job,
            "python": given["python"],
            "index_url": given["stack"]["bases"].get("mi50_url_pypi", ""),
            "jobs": jobs,
        }
        limits = {
            "memory_mib": given["memory_mib"] or mine["memory_mib"] * 7 // 8,
            "minutes": one.minutes,
            "sandbox": given["sandbox"],
            "environment": given["environment"],
            "folder": str(folder),
            "shelf": given["dir"],
        }
        pace = follow.Pace(given["poll"], given["show"], given["lost_timeout"])
        return follow.Order(one, mine["key"], mine["parts"], job, limits, pace)

    # What the work asks of a host: the protocol follow.Node.

    def say(self, text: str) -> None:
        """One line of progress."""
        self._still_wanted()
        Display().display(f"{self.name}: {text}")

    def job(self, action: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - a module's arguments
        """Call build_job."""
        places = {"dir": self._given["dir"], "work_dir": self._given["work_dir"]}
        return self._call("build_job", {**places, **arguments, "action": action})

    def peek(self, folder: str) -> dict[str, Any] | None:
        """What the runner wrote last: no Python is started on the node for it."""
        self._still_wanted()
        try:
            done = self._low_level_execute_command(f"cat '{folder}/state.json'")
        except AnsibleConnectionFailure:
            self._reset()
            return None
        try:
            found = json.loads(str(done.get("stdout", "")))
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def packages(self, names: list[str]) -> None:
        """Have distribution packages, of the builder alone."""
        if names:
            arguments = {"name": names, "state": "present", "cache_valid_time": 86400, "install_recommends": False}
            found = self._call("ansible.builtin.apt", arguments)
            if found.get("changed"):
                self.say(f"installed what the build needs: {', '.join(names)}")

    def receive(self, remote: str, local: Path) -> None:
        """Copy a file from the host."""
        self._still_wanted()
        try:
            self._connection.fetch_file(remote, str(local))
        except AnsibleConnectionFailure as exc:
            raise follow.NodeLost(str(exc)) from exc
        except AnsibleError as exc:
            raise follow.NodeProblem(f"{remote}: {exc}") from exc

    def send(self, local: Path, manifest: store.Manifest) -> None:
        """Give the host a finished build; it proves the bytes itself before it keeps them."""
        self._still_wanted()
        try:
            if not self._connection._shell.tmpdir:
                self._make_tmp_path()
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, local.name)
            self._transfer_file(str(local), remote)
        except AnsibleConnectionFailure as exc:
            raise follow.NodeLost(str(exc)) from exc
        except AnsibleError as exc:
            raise follow.NodeProblem(str(exc)) from exc
        arguments = {"manifest": manifest, "src": remote, "keep": self._given["keep"]}
        self.job("install", name=manifest["name"], key=manifest["key"], **arguments)

    def _call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self._still_wanted()
        try:
            found: dict[str, Any] = self._execute_module(
                module_name=name, module_args=arguments, task_vars=self._variables
            )
        except AnsibleConnectionFailure as exc:
            self._reset()
            raise follow.NodeLost(str(exc)) from exc
        if found.get("unreachable"):
            raise follow.NodeLost(_message(found))
        if found.get("failed"):
            raise follow.NodeProblem(_message(found))
        return found

    def _still_wanted(self) -> None:
        """Stop when ansible-playbook was killed: this worker would go on alone, against the next run."""
        if os.getppid() != self._parent:
            raise follow.NodeLost("ansible-playbook was killed")

    def _reset(self) -> None:
        """Drop a connection that is broken; the next call opens another."""
        try:
            self._connection.reset()
        except (AnsibleConnectionFailure, AttributeError):
            return


def _message(found: dict[str, Any]) -> str:
    said = " ".join(str(found.get(key) or "") for key in ("msg", "module_stderr"))
    return " ".join(said.split())[:2000] or "no reason was given"
