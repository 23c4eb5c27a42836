"""Checks from the answers to the roles' questions: is each part as the stack and the inventory say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..preflight.also import ENGINES
from ..preflight.model import FAIL, OK, Check, crashed
from .model import Crash, Seen

Answer = Mapping[str, Any]
_SITE = "`ansible-playbook site.yml` mends it"
_MOST = 4  # names in a line; the JSON report has no more either, the question can be asked again


def checks(seen: Seen) -> list[Check]:
    """Return the checks of every question that was asked, in the order of the roles."""
    found: list[Check] = []
    for name, (check_id, title, judge) in _JUDGES.items():
        answer = seen.answers.get(name)
        if isinstance(answer, Crash):
            found.append(crashed(check_id, answer.text))
        elif isinstance(answer, str):
            remedy = "The text says what to do; then site.yml"
            found.append(Check(check_id, title, FAIL, answer, "an answer", remedy))
        elif answer is not None:
            try:
                found += judge(answer)
            except Exception as error:  # an answer of another shape than this check knows
                found.append(crashed(check_id, error))
    return found


def id_of(question: str) -> str:
    """Return the id under which it is reported that a question has no answer."""
    return _JUDGES[question][0] if question in _JUDGES else f"{question}.state"


def _check(check_id: str, title: str, problems: list[str], good: str, remedy: str) -> Check:
    if not problems:
        return Check(check_id, title, OK, good)
    more = f" and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
    return Check(check_id, title, FAIL, "; ".join(problems[:_MOST]) + more, good, remedy)


def _rocm(answer: Answer) -> list[Check]:
    missing = answer["missing"]
    lacking = [f"{name} is missing" for key in ("packages", "extra_packages", "apt_modules") for name in missing[key]]
    foreign = [
        f"{one['name']} {one['version']} is from {', '.join(one['origins']) or 'nowhere'}"
        for one in answer["wrong_origin"]
    ]
    users = [f"{name} does not exist" for name in (*missing["groups"], *missing["users"])]
    users += [f"{one['user']} is not in {', '.join(one['groups'])}" for one in missing["memberships"]]
    reasons = [str(reason) for reason in answer["reboot_reasons"]] if answer["reboot_required"] else []
    driver = [f"{name} is missing" for name in answer["driver"]["packages"]]
    return [
        _check("rocm.packages", "ROCm", [*answer["problems"], *lacking], str(answer["rocm"]["version"]), _SITE),
        _check("rocm.origin", "Origin of packages", foreign, "the stack's repository", f"{_SITE}; the pin keeps it so"),
        _check(
            "rocm.access",
            "Groups",
            users,
            "every user of the cards is in render and video",
            f"{_SITE}; then log in anew",
        ),
        _check("rocm.driver", "Driver", driver, str(answer["driver"]["mode"]), _SITE),
        _check("rocm.reboot", "Reboot", reasons, "not needed", "`ansible-playbook playbooks/reboot.yml`"),
    ]


def _rocblas(answer: Answer) -> list[Check]:
    """`libraries`: destination, number of files that are whole, what is wrong with the others."""
    found = []
    for library in answer["libraries"]:
        good = f"{library['whole']} files, by sha256"
        check_id = f"kernels.{library['dest'].strip('/').replace('/', '-')}"
        remedy = (
            f"{_SITE}. A ROCm upgrade or pip replaced or removed the kernels: matrix products would abort or be wrong"
        )
        found.append(_check(check_id, "gfx906 kernels", list(library["problems"]), good, remedy))
    return found


def _fans(answer: Answer) -> list[Check]:
    files = [f"{name} differs" for name in answer["differing"]] + [
        f"{name} is left over" for name in answer["left_over"]
    ]
    rivals = [f"{one['unit']} ({one['state']})" for one in answer["rivals"]]
    remedy = "; ".join(f"`{one['remedy']}`" for one in answer["rivals"])
    return [
        _check("fan.files", "Fan daemon's files", files, "as shipped", _SITE),
        _check(
            "fan.daemon", "Fan daemon", list(answer["problems"]), "governs the blowers", f"`mi50-fand status`, {_SITE}"
        ),
        _check("fan.rivals", "Other fan daemons", rivals, "none", remedy),
    ]


def _power(answer: Answer) -> list[Check]:
    problems = [*(f"{name} differs" for name in answer["differing"]), *answer["problems"]]
    return [_check("card.power", "Power caps", problems, "as asked for, read back", _SITE)]


def _monitoring(answer: Answer) -> list[Check]:
    problems = [*(f"{name} differs" for name in answer["differing"]), *answer["problems"]]
    remedy = f"{_SITE}; `journalctl -u mi50-monitor -u prometheus-node-exporter`"
    return [_check("monitoring.node", "Monitoring", problems, "measures, and shows it", remedy)]


def _builds(answer: Answer) -> list[Check]:
    return [
        _check(
            f"build.{name}",
            f"Built artifact {name}",
            [] if one["held"] else [one["problem"] or "not on this node"],
            str(one.get("version", "")),
            _SITE,
        )
        for name, one in answer["builds"].items()
    ]


def _settled(check_id: str, title: str, remedy: str = _SITE) -> Callable[[Answer], list[Check]]:
    """A judge for answers that say no more than whether something is left to do, and why."""

    def judge(answer: Answer) -> list[Check]:
        why = [] if answer["settled"] else [str(line) for line in answer.get("why") or ["not as asked for"]]
        return [_check(check_id, title, why, str(answer.get("has") or answer.get("model") or "as asked for"), remedy)]

    return judge


# Question: the id under which a refusal or a crash is reported, its title, what makes checks of an answer.
_JUDGES: dict[str, tuple[str, str, Callable[[Answer], list[Check]]]] = {
    "rocm_info": ("rocm.state", "ROCm", _rocm),
    "gfx906_rocblas": ("kernels.state", "gfx906 kernels", _rocblas),
    "fan_info": ("fan.state", "Fan daemon", _fans),
    "gpu_power_info": ("card.power", "Power caps", _power),
    "build_once": ("build.state", "Built artifacts", _builds),
    "torch_env": ("torch.environments", "torch", _settled("torch.environments", "torch environments")),
    "container_engine": ("serve.docker", "Docker", _settled("serve.docker", "Docker")),
    "model": ("serve.models", "Models", _settled("serve.models", "Models")),
    **{
        name: (
            f"serve.{name}",
            name,
            _settled(f"serve.{name}", f"Engine {name}", f"{_SITE}; `journalctl -u mi50-{name}`"),
        )
        for name in ENGINES
    },
    "monitor_info": ("monitoring", "Monitoring", _monitoring),
}
