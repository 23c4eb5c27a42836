"""A module's work in the background of its node, for action plugins: it outlives the connection, and is asked for.

Runs on the controller. Ansible's own classes are the plugin's: nothing of it is imported here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

Plugin = Any  # an ActionBase
_ASK_EVERY = 30  # looks at the progress, after which the job itself is asked
_LONGEST_PAUSE = 5.0
_LOST_S = 900.0

# What Ansible adds to a job's result, and nobody reads.
_OWN = ("ansible_job_id", "results_file", "started", "finished")


def begin(plugin: Plugin, module: str, arguments: Mapping[str, Any], variables: Mapping[str, Any],
          seconds: int) -> dict[str, Any]:  # fmt: skip
    """Start `module` for at most `seconds`; returns the job, which has no `ansible_job_id` when it could not start."""
    task = plugin._task
    plugin._task = task.copy()
    plugin._task.async_val = seconds
    try:
        found: dict[str, Any] = plugin._execute_module(
            module_name=module, module_args=dict(arguments), task_vars=variables, wrap_async=True
        )
    finally:
        plugin._task = task
    return found


def result(plugin: Plugin, job: Mapping[str, Any], variables: Mapping[str, Any], lost: type[Exception],
           mark: str = "") -> dict[str, Any] | None:  # fmt: skip
    """Return the job's result, None while it runs. Raises `lost` when the host does not answer.

    `mark`: a key of results, by which one counts as finished that does not say so.
    """
    task = plugin._task.copy()
    task.args = {"jid": job["ansible_job_id"]}
    status = plugin._shared_loader_obj.action_loader.get(
        "ansible.legacy.async_status",
        task=task,
        connection=plugin._connection,
        play_context=plugin._play_context,
        loader=plugin._loader,
        templar=plugin._templar,
        shared_loader_obj=plugin._shared_loader_obj,
    )
    found: dict[str, Any] = status.run(task_vars=variables)
    if found.get("unreachable"):
        raise lost(str(found.get("msg")))
    if not found.get("finished") and not found.get("failed") and (not mark or mark not in found):
        return None
    task.args = {"jid": job["ansible_job_id"], "mode": "cleanup"}
    status.run(task_vars=variables)
    return {name: value for name, value in found.items() if name not in _OWN}


class Abandoned(Exception):
    """Nobody waits for the job any more: the run of Ansible that had begun it is gone."""


class Follower:
    """Shows how far a job is until it has a result, through breaks of the connection."""

    def __init__(self, plugin: Plugin, variables: Mapping[str, Any], lost: type[Exception], mark: str,
                 line: Callable[[Mapping[str, Any]], str], say: Callable[[str], None]) -> None:  # fmt: skip
        """`lost`: what the plugin's connection raises; `mark`: as of `result`; `line` makes words of a progress."""
        self._plugin, self._variables, self._lost, self._mark = plugin, variables, lost, mark
        self._line, self._say = line, say
        self._parent = os.getppid()

    def follow(self, job: Mapping[str, Any], progress: str) -> dict[str, Any]:
        """Return the job's result; `progress` is the file on the node. Raises Abandoned, and `lost` after minutes."""
        shown, pause, looks, seen = "", 0.3, 0, time.monotonic()
        while True:
            time.sleep(pause)
            pause, looks = min(pause * 1.5, _LONGEST_PAUSE), looks + 1
            if os.getppid() != self._parent:
                raise Abandoned
            text, done = self._peek(progress, str(job.get("results_file") or ""))
            if text and text != shown:
                self._say(text)
                shown = text
            if not done and looks % _ASK_EVERY:
                seen = time.monotonic() if done is not None else seen
                continue
            try:
                found = result(self._plugin, job, self._variables, self._lost, self._mark)
            except self._lost as exc:
                if time.monotonic() - seen > _LOST_S:
                    raise
                self._say(f"does not answer ({exc}); the download goes on there")
                continue
            if found is not None:
                return found
            seen = time.monotonic()

    def _peek(self, progress: str, results: str) -> tuple[str, bool | None]:
        """Progress as a line, and whether the job has ended (None: no answer). No Python is started on the node."""
        command = f"cat '{progress}' 2>/dev/null; echo; echo @@@; head -c 300 '{results}'"
        try:
            said = str(self._plugin._low_level_execute_command(command).get("stdout", ""))
        except self._lost:
            self._plugin._connection.reset()
            return "", None
        first, dummy, rest = said.partition("@@@")
        job = _read(rest)
        return self._line(_read(first)), not job or bool(job.get("finished", "ansible_job_id" not in job))


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
