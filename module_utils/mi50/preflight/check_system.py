"""Checks of the operating system, kernel, packages, disks and clock. Pure: HostState and Policy in, checks out."""

from __future__ import annotations

import re

from .model import FAIL, OK, SKIP, WARN, Check, HostState, Policy

GIB = 1024**3
CLOCK_WARN_S = 60.0
CLOCK_FAIL_S = 3600.0  # apt refuses a Release file from the future, TLS a certificate that is not valid yet
INSTALLED_GIB = 2.0  # a node that already has the release needs room for updates alone

_DKMS_REMEDY = (
    "A DKMS build that failed holds apt up. Way out: "
    "`sudo dpkg --remove --force-remove-reinstreq --force-depends amdgpu-dkms && sudo dpkg --configure -a && "
    "sudo apt-get -f install`, then set rocm_kernel_driver: inbox (the in-tree driver works with gfx906) and run again"
)


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: '25.10' is (25, 10)."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def kernel_series(release: str) -> str:
    """Return major.minor of a kernel release: '6.8.0-49-generic' is '6.8'."""
    match = re.match(r"(\d+\.\d+)", release)
    return match.group(1) if match else release


def platform_of(host: HostState, policy: Policy) -> dict[str, object] | None:
    """Return the stack's entry for this operating system, or None."""
    for entry in policy.platforms:
        if (entry["id"], entry["version"]) == (host.os_id, host.os_version):
            return entry
    return None


def uses_dkms(host: HostState, policy: Policy) -> bool:
    """Return whether the rocm role would install AMD's DKMS driver on this kernel."""
    return policy.kernel_driver == "dkms" or (policy.kernel_driver == "auto" and _kernel_listed(host, policy))


def check_release(host: HostState, policy: Policy) -> Check:
    """The operating system is one the stack installs on."""
    supported = ", ".join(f"{entry['id']} {entry['version']}" for entry in policy.platforms)
    found = host.os_name or f"{host.os_id} {host.os_version}".strip() or "no os-release file"
    title, expected = "Operating system", f"one of {supported}"
    if platform_of(host, policy):
        return Check("os.release", title, OK, found, expected)
    # The name that people read, and the two words that were compared: a derivative differs in these alone.
    found = f"{found} ({host.os_id} {host.os_version})" if host.os_id else found
    for entry in policy.refused:
        if entry["id"] == host.os_id and _version_matches(host.os_version, entry["version"]):
            remedy = f"{entry['reason']}. Install {supported}, or choose another stack with mi50_stack"
            return Check("os.release", title, FAIL, f"{found}, refused by {policy.stack}", expected, remedy)
    remedy = f"{policy.stack} has no packages for this release. Install one of {supported}"
    return Check("os.release", title, FAIL, f"{found}, unknown to {policy.stack}", expected, remedy)


def _version_matches(version: str, rule: str) -> bool:
    if rule.startswith(">="):
        return version_tuple(version) >= version_tuple(rule[2:])
    return version == rule


def check_arch(host: HostState, _policy: Policy) -> Check:
    """AMD packages ROCm for x86_64 alone."""
    remedy = "" if host.arch == "x86_64" else "ROCm is packaged for x86_64 only; use an x86_64 host"
    return Check("os.arch", "Processor architecture", FAIL if remedy else OK, host.arch or "unknown", "x86_64", remedy)


def _kernel_listed(host: HostState, policy: Policy) -> bool:
    platform = platform_of(host, policy)
    kernels = platform["kernels"] if platform else []
    return isinstance(kernels, list) and kernel_series(host.kernel) in kernels


def check_driver_mode(host: HostState, policy: Policy) -> Check:
    """The kernel and the chosen driver go together."""
    title = "Kernel and driver mode"
    platform = platform_of(host, policy)
    found = f"kernel {host.kernel}, rocm_kernel_driver {policy.kernel_driver}"
    if platform is None:
        return Check("kernel.driver_mode", title, SKIP, f"{found}: no kernels are listed for this release")
    kernels = platform["kernels"]
    expected = f"DKMS on {', '.join(kernels) if isinstance(kernels, list) else kernels}; the in-tree driver elsewhere"
    if policy.kernel_driver == "dkms" and not _kernel_listed(host, policy):
        remedy = (
            f"AMD's matrix for {policy.stack} does not list kernel {kernel_series(host.kernel)}: "
            "amdgpu-dkms may not build "
            "there, and a failed build leaves apt broken. Set rocm_kernel_driver: auto or inbox, or boot a "
            "listed kernel"
        )
        return Check("kernel.driver_mode", title, FAIL, found, expected, remedy)
    chosen = "DKMS" if uses_dkms(host, policy) else "in-tree"
    return Check("kernel.driver_mode", title, OK, f"{found}: {chosen} driver", expected)


def check_amdgpu(host: HostState, _policy: Policy) -> Check:
    """The kernel may load amdgpu."""
    title, expected = "amdgpu module", "not blacklisted, no nomodeset"
    obstacles = list(host.amdgpu_blacklist)
    for word in host.cmdline.split():
        name, _equals, value = word.partition("=")
        if word == "nomodeset" or (name in ("modprobe.blacklist", "module_blacklist") and "amdgpu" in value.split(",")):
            obstacles.append(f"kernel command line: {word}")
    state = "loaded" if host.amdgpu_loaded else "not loaded"
    if not obstacles:
        return Check("kernel.amdgpu", title, OK, state, expected)
    remedy = "Remove it (kernel command line: GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub) and reboot"
    status = WARN if host.amdgpu_loaded else FAIL
    return Check("kernel.amdgpu", title, status, f"{state}; {'; '.join(obstacles)}", expected, remedy)


def check_dpkg(host: HostState, policy: Policy) -> Check:
    """No package is half installed: apt refuses to work on such a host."""
    title, expected = "Package database", "every package whole"
    if not host.dpkg_broken and not host.dpkg_interrupted:
        return Check("dpkg.audit", title, OK, "whole", expected)
    found = ", ".join(f"{name} ({state})" for name, state in sorted(host.dpkg_broken.items()))
    if host.dpkg_interrupted:
        found = "; ".join(filter(None, [found, "dpkg was interrupted"]))
    remedy = "`sudo dpkg --configure -a && sudo apt-get -f install`"
    if host.dpkg_cut:
        found = f"{found}; a run of this project was cut off there: {host.dpkg_cut}"
        mends = "site.yml, rollback.yml and uninstall.yml begin with it: `dpkg --configure -a`"
        if policy.mends:
            return Check("dpkg.audit", title, WARN, found, expected, f"Nothing: this run finishes it first. {mends}")
        return Check("dpkg.audit", title, FAIL, found, expected, f"Run again what was cut off. {mends}")
    if host.dpkg_interrupted:
        # Seen too while apt still works, as that of a run whose controller died does.
        remedy = f"Where apt or dpkg still works (`pgrep -a dpkg`), run again when it has finished; else {remedy}"
    if any(name.split(":")[0] in ("amdgpu-dkms", "amdgpu-dkms-firmware") for name in host.dpkg_broken):
        remedy = _DKMS_REMEDY
    return Check("dpkg.audit", title, FAIL, found, expected, remedy)


def check_disk(host: HostState, policy: Policy) -> Check:
    """Enough room; paths on one file system add up."""
    title = "Free disk space"
    if not policy.min_free_gib or not host.disks:
        return Check("disk.space", title, SKIP, "no path to check")
    groups: dict[int, list[str]] = {}
    free: dict[int, int] = {}
    full: list[str] = []
    for disk in host.disks:
        groups.setdefault(disk.device, []).append(disk.path)
        free[disk.device] = disk.free_bytes
        if disk.free_inodes == 0:
            full.append(f"{disk.path}: no inode left")
    seen, wanted = [], []
    for device, paths in groups.items():
        needs = [policy.min_free_gib.get(path, 0.0) for path in paths]
        need = sum(min(value, INSTALLED_GIB) if host.rocm_installed else value for value in needs)
        where = " + ".join(paths)
        seen.append(f"{where}: {free[device] / GIB:.1f} GiB")
        wanted.append(f"{where}: {need:g} GiB")
        if free[device] < need * GIB:
            full.append(f"{where}: {free[device] / GIB:.1f} of {need:g} GiB")
    if full:
        remedy = "Free or add space; where less is enough for what you install, lower it in preflight_min_free_gib"
        return Check("disk.space", title, FAIL, f"not enough on {'; '.join(full)}", "; ".join(wanted), remedy)
    return Check("disk.space", title, OK, "; ".join(seen), "; ".join(wanted))


def check_secure_boot(host: HostState, policy: Policy) -> Check:
    """With Secure Boot a module built here is not loaded before its key is enrolled."""
    title = "Secure Boot"
    if host.secure_boot is None:
        return Check("boot.secure_boot", title, SKIP, "no EFI variable (legacy boot, or not readable)")
    found = "on" if host.secure_boot else "off"
    if host.secure_boot and uses_dkms(host, policy):
        remedy = (
            "Enrol the DKMS key (`sudo mokutil --import /var/lib/dkms/mok.pub`, reboot) or set "
            "rocm_kernel_driver: inbox"
        )
        return Check(
            "boot.secure_boot", title, WARN, f"{found}, with a DKMS driver", "off, or the in-tree driver", remedy
        )
    return Check("boot.secure_boot", title, OK, found)


def check_fan_daemons(host: HostState, _policy: Policy) -> Check:
    """Two programs that write the same pwm fight; neither can promise anything."""
    title = "Other fan daemons"
    if host.fan_daemons is None:
        return Check("fan.daemons", title, SKIP, "systemd did not answer")
    if not host.fan_daemons:
        return Check("fan.daemons", title, OK, "none")
    units = " ".join(host.fan_daemons)
    remedy = f"Before using the fan_control role: `sudo systemctl disable --now {units}`"
    return Check("fan.daemons", title, WARN, units, "none", remedy)


def check_python_apt(host: HostState, policy: Policy) -> Check:
    """Ansible's apt module installs its own library, but not in check mode."""
    title, expected = "python3-apt", "installed"
    if host.python_apt:
        return Check("apt.python", title, OK, "installed", expected)
    if policy.check_mode:
        remedy = "Check mode cannot install it: `sudo apt-get install python3-apt`, or run once without --check"
        return Check("apt.python", title, FAIL, "missing", expected, remedy)
    return Check("apt.python", title, OK, "missing; the apt module installs it", expected)


def check_clock(host: HostState, _policy: Policy) -> Check:
    """The clock agrees with the controller's: signatures and certificates have dates."""
    title, expected = "Clock", f"within {CLOCK_WARN_S:g} s of the controller"
    if host.clock_offset is None:
        return Check("time.clock", title, SKIP, "no time to compare with")
    size = abs(host.clock_offset)
    found = f"{size:.0f} s {'ahead of' if host.clock_offset > 0 else 'behind'} the controller"
    if size <= CLOCK_WARN_S:
        return Check("time.clock", title, OK, found, expected)
    remedy = "`sudo timedatectl set-ntp true`, or set the clock by hand; apt and TLS refuse dates that are off"
    return Check("time.clock", title, FAIL if size > CLOCK_FAIL_S else WARN, found, expected, remedy)


SYSTEM_CHECKS = {
    "os.release": check_release,
    "os.arch": check_arch,
    "kernel.driver_mode": check_driver_mode,
    "kernel.amdgpu": check_amdgpu,
    "boot.secure_boot": check_secure_boot,
    "dpkg.audit": check_dpkg,
    "apt.python": check_python_apt,
    "disk.space": check_disk,
    "time.clock": check_clock,
    "fan.daemons": check_fan_daemons,
}
