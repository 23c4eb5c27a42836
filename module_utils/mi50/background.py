"""A module's work in the background of its node, for action plugins: it outlives the connection, and is asked for.

Runs on the controller. Ansible's own classes are the plugin's: nothing of it is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Plugin = Any  # an ActionBase

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
