"""What a machine is: packages, files, users, groups, units, kernel settings.

Independent of what the roles know of themselves: it looks at everything and names what it leaves out.

    python -m lab.snapshot take CONTAINER FILE              write what it is
    python -m lab.snapshot compare CONTAINER FILE [KNOWN …] 1 and the differences; KNOWN: starts of lines that may be

For Molecule, whose containers are not the lab's (molecule/shared/cleanup.yml).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lab import engine, nodes

# Logs, spools and home directories of programs are no state of the machine; /run and /tmp are gone after a boot.
ROOTS = ("/etc", "/usr", "/opt", "/srv", "/var/lib", "/var/cache", "/root", "/home", "/boot", "/lib", "/dev/dri")
# Everything that changes without anybody installing or removing something, with the reason.
LEFT_OUT = {
    r"/srv/mi50-lab(/.*)?": "the lab's own: simulated cards, engines, keyring",
    r"/var/lib/apt/lists(/.*)?": "what repositories offer, as of the last update",
    r"/var/cache/apt(/.*)?": "apt's cache of the same, and of archives",
    r"/var/lib/apt/(periodic|daily_lock|extended_states)(/.*)?": "time stamps; the marks are compared one by one",
    r"/var/lib/dpkg/(status.*|lock.*|triggers/.*|available.*|.*-old)": "dpkg's own, compared package by package",
    r"/var/cache/(ldconfig/aux-cache|debconf/.*-old|man(/.*)?)": "caches that are rebuilt",
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-": "backups by the shadow tools of the state before",
    r"/etc/\.pwd\.lock": "a lock of the shadow tools, empty",
    r"(.*/)?__pycache__(/.*)?": "byte code that Python writes when root imports a module",
    r"/var/lib/systemd/(timers|random-seed|catalog|linger|timesync|coredump)(/.*)?": "systemd's own time stamps",
    r"/var/lib/logrotate(/.*)?": "time stamps of logrotate",
    r"/var/lib/(docker|containerd)/.*": "a volume of the lab's node",
    r"/home/ops/\.ansible(/.*)?": "Ansible's folder for modules it sends",
    r"/root[/]\.ansible(/.*)?": "Ansible's folder for modules it sends",
}
# They fail where other containers of the host have used up what it gives of inotify.
UNITS_LEFT_OUT = r"systemd-ask-password-.*\.path"
# Counters and random numbers; the host's other containers move them.
KERNEL_LEFT_OUT = (
    r"(fs\.(dentry-state|file-nr|inode-nr|inode-state|quota.*|aio-nr)|kernel\.(random\..*|ns_last_pid|pty\.nr|sched_domain.*|tainted)"
    r"|net\.netfilter\.nf_conntrack_count|.*\.flush|net\.ipv[46]\.(conf|neigh)\.(veth|br-|docker).*)"
)

_LOOK = r"""
import grp, hashlib, json, os, pwd, re, stat, subprocess, sys
given = json.load(sys.stdin)
left_out = [re.compile(one + r"\Z") for one in given["left_out"]]
kernel_out = re.compile(given["kernel_left_out"] + r"\Z")
units_out = re.compile(given["units_left_out"] + " ")
def run(*words):
    return subprocess.run(words, capture_output=True, text=True).stdout
def describe(path):
    seen = os.lstat(path)
    who = "%o %d:%d" % (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid)
    if stat.S_ISLNK(seen.st_mode):
        return "link " + os.readlink(path)
    if stat.S_ISREG(seen.st_mode):
        with open(path, "rb") as stream:
            return "file %s %s" % (who, hashlib.sha256(stream.read()).hexdigest()[:16])
    return "%s %s" % ("folder" if stat.S_ISDIR(seen.st_mode) else "special %o" % stat.S_IFMT(seen.st_mode), who)
files = {}
for root in given["roots"]:
    if os.path.islink(root):
        continue
    for folder, folders, names in os.walk(root):
        folders[:] = [one for one in folders if not any(rule.match(os.path.join(folder, one)) for rule in left_out)]
        for one in folders + names:
            path = os.path.join(folder, one)
            if not any(rule.match(path) for rule in left_out):
                try:
                    files[path] = describe(path)
                except OSError as error:
                    files[path] = type(error).__name__
packages = {}
for row in run("dpkg-query", "-W", "-f", "${Package}:${Architecture}\t${Version}\t${db:Status-Abbrev}\n").splitlines():
    name, version, status = row.split("\t")
    packages[name] = version + " " + status.strip()
auto = run("apt-mark", "showauto").split()
kernel = {}
for row in run("sysctl", "-a").splitlines():
    name, _, value = row.partition(" = ")
    if not kernel_out.match(name):
        kernel[name] = value
units = {}
for row in run("systemctl", "list-unit-files", "--plain", "--no-legend").splitlines():
    units[row.split()[0]] = row.split()[1]
kinds = "--type=service,timer,socket,path"
active = run("systemctl", "list-units", "--plain", "--no-legend", kinds, "--state=active,failed")
chosen = run("update-alternatives", "--get-selections").splitlines()
print(json.dumps({
    "packages": packages,
    "marks": {name: "auto" for name in auto},
    "files": files,
    "users": {one.pw_name: list(one[2:]) for one in pwd.getpwall()},
    "groups": {one.gr_name: [one.gr_gid, sorted(one.gr_mem)] for one in grp.getgrall()},
    "units": units,
    "active": {row.split()[0]: row.split()[2] for row in active.splitlines() if not units_out.match(row)},
    "kernel": kernel,
    "diversions": {row: "" for row in run("dpkg-divert", "--list").splitlines()},
    "alternatives": {row.split()[0]: row.split(maxsplit=1)[1] for row in chosen},
}))
"""

Snapshot = dict[str, dict[str, Any]]


def take(node: str) -> Snapshot:
    """Look at a lab node."""
    return take_container(nodes.container(node))


def take_container(name: str) -> Snapshot:
    """Look at a machine in a container."""
    given = {"roots": ROOTS, "left_out": list(LEFT_OUT), "kernel_left_out": KERNEL_LEFT_OUT}
    given["units_left_out"] = UNITS_LEFT_OUT
    done = engine.docker("exec", "-i", name, "python3", "-c", _LOOK, data=json.dumps(given))
    found: Snapshot = json.loads(done.stdout)
    return found


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Lines such as `files: + /etc/x file 644 0:0`; empty when the machine is what it was."""
    lines: list[str] = []
    for kind in before:
        old, new = before[kind], after[kind]
        lines += [f"{kind}: - {name} {old[name]}" for name in old if name not in new]
        lines += [f"{kind}: + {name} {new[name]}" for name in new if name not in old]
        lines += [
            f"{kind}: ~ {name} {old[name]} -> {new[name]}" for name in old if name in new and old[name] != new[name]
        ]
    return lines


def main(argv: list[str]) -> int:
    """Command line; returns its exit code."""
    verb, name, path, *known = argv
    now = take_container(name)
    if verb == "take":
        Path(path).write_text(json.dumps(now), encoding="utf-8")
        return 0
    lines = differences(json.loads(Path(path).read_text(encoding="utf-8")), now)
    other = [line for line in lines if not line.startswith(tuple(known))]
    print("\n".join(other))
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
