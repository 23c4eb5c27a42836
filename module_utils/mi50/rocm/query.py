"""What the role rocm asks of a node: its settings, completed from the stack. Runs on the controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SETTINGS = (
    "packages",
    "package_set",
    "kernel_driver",
    "users",
    "apt_key_fingerprint",
    "apt_cache_valid_time",
    "cache_dir",
    "sysfs_root",
    "proc_root",
    "dev_root",
)
# What the role does not let anybody set: the source file, its keyring, the groups, the further files.
FIXED = ("source", "keyring", "groups", "texts")


def query(rocm: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `rocm_info`.

    `rocm` is that part of a resolved stack, `given` the role's SETTINGS and what is FIXED, without prefix. In the
    `content` of `texts` @VERSION@, @ORIGIN@ and @PRIORITY@ (of the pin) stand for the stack's values.
    """
    apt = rocm["apt"]
    return {
        "version": rocm["version"],
        "build": rocm["build"],
        "platforms": rocm["platforms"],
        "packages": given["packages"] or rocm["packages"][given["package_set"]],
        "driver": given["kernel_driver"],
        "driver_packages": rocm["packages"]["driver"],
        "users": given["users"],
        "groups": given["groups"],
        "uris": [apt["userspace"]["url"], apt["driver"]["url"]],
        "source": {
            "path": given["source"],
            "uri": apt["userspace"]["url"],
            "components": apt["userspace"]["components"],
            "files": [{**item, "content": _fill(item["content"], rocm)} for item in given["texts"]],
            "keyring": given["keyring"],
            "fingerprints": [given["apt_key_fingerprint"] or rocm["key"]["fingerprint"]],
            "cache_valid_time": given["apt_cache_valid_time"],
            "stamp_dir": given["cache_dir"],
        },
        "sysfs_root": given["sysfs_root"],
        "proc_root": given["proc_root"],
        "dev_root": given["dev_root"],
    }


def _fill(text: str, rocm: Mapping[str, Any]) -> str:
    values = {"@VERSION@": rocm["version"], "@ORIGIN@": rocm["pin"]["origin"], "@PRIORITY@": rocm["pin"]["priority"]}
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text
