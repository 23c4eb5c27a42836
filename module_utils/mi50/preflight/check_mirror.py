"""Is an artifact mirror complete for what this node is about to fetch? Looked at before anything changes.

The mirror's own list (contents.json) is compared, in one request: a node would find what is missing one at a time,
half-way through an installation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .asked import Runner
from .collect import Options, read_os_release, read_proxies
from .download import DownloadError, download
from .model import FAIL, OK, WARN, Check, mask_url
from .proxy import ProxySettings

LIST = "contents.json"
FORMAT = 1
_LIMIT = 8 << 20
_TITLE = "Contents of the mirror"


def mirrored(mirror: Mapping[str, Any], answered: Iterable[str], options: Options, run: Runner) -> Check:
    """Let the node's own release and proxies decide; see check_mirror."""
    platform = "-".join(read_os_release(options.root).get(name, "") for name in ("ID", "VERSION_ID"))
    return check_mirror(mirror, answered, platform, read_proxies(options, run), options.timeout)


def check_mirror(
    mirror: Mapping[str, Any], answered: Iterable[str], platform: str, settings: ProxySettings, timeout: float
) -> Check:
    """Ask the mirror what it holds and compare. `platform` is ID-VERSION_ID of os-release.

    mirror: `base`, `needs` (mirror_needs), `pythons` (the system's Python by platform). What roles of `answered` need
    is there already. Never raises.
    """
    base = str(mirror["base"]).rstrip("/")
    done = set(answered)
    needs = [one for one in mirror["needs"] if one["for"] not in done]
    if not needs:
        return Check("mirror.contents", _TITLE, OK, "nothing is to be fetched from it")
    fill = "Fill it for this stack where there is a network: ansible-playbook playbooks/mirror.yml"
    try:
        data = json.loads(download(f"{base}/{LIST}", settings, apt=False, timeout=timeout, limit=_LIMIT))
        items = data["items"] if data["format"] == FORMAT else None
    except DownloadError as error:
        if error.kind == "missing":
            text = f"{mask_url(base)} does not say what it holds"
            return Check("mirror.contents", _TITLE, WARN, text, "a list of its contents", fill)
        way = f"Let {mask_url(base)} run, or set other base addresses (mi50_url_*) and no artifact_mirror_client_base"
        return Check("mirror.contents", _TITLE, FAIL, str(error), "an answer", way)
    except (ValueError, KeyError, TypeError):
        items = None
    if not isinstance(items, dict):
        text = f"{mask_url(base)}/{LIST} is no list of a mirror's contents"
        return Check("mirror.contents", _TITLE, FAIL, text, f"format {FORMAT}", fill)
    lacking = missing(items, needs, platform, str(mirror.get("pythons", {}).get(platform, "")))
    if not lacking:
        return Check(
            "mirror.contents", _TITLE, OK, f"{mask_url(base)} holds what this node is about to fetch", "all of it"
        )
    found = f"{mask_url(base)} is incomplete for this stack, {len(lacking)} missing: {'; '.join(lacking)}"
    return Check(
        "mirror.contents", _TITLE, FAIL, found, "everything that this node is about to fetch", f"{fill}; then run again"
    )


def missing(items: Mapping[str, Any], needs: Iterable[Mapping[str, Any]], platform: str, python: str) -> list[str]:
    """Return what the mirror lacks of `needs`, each once, in their order."""
    found = [_LACKS[need["kind"]](items, need, platform, python) for need in needs]
    return list(dict.fromkeys(filter(None, found)))


def _path(items: Mapping[str, Any], need: Mapping[str, Any], _platform: str, _python: str) -> str:
    """Files, repositories of git, images: by their path, and by digest or commit where one is wanted."""
    path, wanted = str(need["path"]), str(need.get("identity") or "")
    have = [one for one in items.values() if path in (one["what"].get("path"), one["what"].get("signature"))]
    if not have:
        return path
    if not wanted:
        return ""
    known = sorted(set().union(*map(_identities, have)))
    # A list that tells nothing of a file's digest leaves that to whoever fetches the file.
    return "" if not known or wanted in known else f"{path}: {wanted}, it has {', '.join(known)}"


def _identities(item: Mapping[str, Any]) -> set[str]:
    both = {**item["what"], **{key: value for key, value in item["values"].items() if value}}
    return {str(both[key]) for key in ("sha256", "commit", "digest", "version") if both.get(key)}


def _apt(items: Mapping[str, Any], need: Mapping[str, Any], platform: str, _python: str) -> str:
    item = items.get(f"apt-{platform}")
    if item is None:
        return f"apt-{platform} (packages of this release)"
    if need["path"] not in {one["path"] for one in item["what"]["repositories"]}:
        return f"apt-{platform}: {need['path']}"
    lacking = sorted(set(need["packages"]) - {*item["what"]["packages"], *item["what"]["distribution"]})
    return f"apt-{platform}: {', '.join(lacking)}" if lacking else ""


def _index(items: Mapping[str, Any], need: Mapping[str, Any], _platform: str, python: str) -> str:
    for one in items.values():
        what = one["what"]
        if what.get("path") != need["path"]:
            continue
        other = [f"{name} {version}" for name, version in need["pins"].items() if what["pins"].get(name) != version]
        if other:
            return f"{need['path']}: {', '.join(other)}"
        return f"{need['path']}: wheels for Python {python}" if python and python not in what["pythons"] else ""
    return str(need["path"])


def _requirements(items: Mapping[str, Any], need: Mapping[str, Any], _platform: str, python: str) -> str:
    item = items.get(need["name"])
    if item is None:
        return str(need["name"])
    lacking = sorted(set(need["requirements"]) - set(item["what"]["requirements"]))
    if lacking:
        return f"{need['name']}: {', '.join(lacking)}"
    return f"{need['name']}: wheels for Python {python}" if python and python not in item["what"]["pythons"] else ""


def _model(items: Mapping[str, Any], need: Mapping[str, Any], _platform: str, _python: str) -> str:
    name = f"model-{need['name']}"
    return "" if name in items else name


_LACKS = {"path": _path, "apt": _apt, "index": _index, "requirements": _requirements, "model": _model}
