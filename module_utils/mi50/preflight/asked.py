"""What modules that ask roles' questions share: questions with valid options, and a way to run commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import also

# Runs a command; returns its exit code and standard output. A missing program is (127, "").
Runner = Callable[[list[str]], tuple[int, str]]
# Checks options against a SPEC: returns them with their defaults, and what is wrong.
Validator = Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[dict[str, Any], list[str]]]


class QuestionError(Exception):
    """A name nobody asks by, or options that the question does not have; the text says which."""


def questions(given: Mapping[str, Any], validate: Validator) -> dict[str, dict[str, Any] | None]:
    """Return the questions with valid options; empty ones as they are: a role that has other work, or none.

    Raises QuestionError.
    """
    found: dict[str, dict[str, Any] | None] = {}
    for name, options in given.items():
        if name not in also.NAMES:
            raise QuestionError(f"{name} is none of {', '.join(also.NAMES)}")
        if not options:
            found[name] = options
            continue
        checked, wrong = validate(also.module(name).SPEC, options)
        if wrong:
            raise QuestionError(f"{name}: {'; '.join(wrong)}")
        found[name] = checked
    return found


def runner(module: Any) -> Runner:  # noqa: ANN401 - an AnsibleModule
    """Return what runs commands on the node, in English."""

    def run(command: list[str]) -> tuple[int, str]:
        program = module.get_bin_path(command[0])
        if program is None:
            return 127, ""
        code, out, dummy = module.run_command([program, *command[1:]], environ_update={"LANGUAGE": "C", "LC_ALL": "C"})
        return code, out

    return run
