"""What a bundle holds: files and the output of commands, by their names in it. Data alone."""

from __future__ import annotations

# Name in the bundle -> patterns of files below /. What is called a key, a token or a password is not listed.
FILES = {
    "system/os-release": ("etc/os-release",),
    "system/cpuinfo-first": ("proc:cpuinfo",),
    "system/meminfo": ("proc:meminfo",),
    "system/cmdline": ("proc:cmdline",),
    "system/modules": ("proc:modules",),
    "system/mounts": ("proc:mounts",),
    "system/pressure": ("proc:pressure/*",),
    "system/modprobe": ("etc/modprobe.d/*.conf", "etc/modules-load.d/*.conf", "etc/default/grub"),
    "apt/ours": ("etc/apt/sources.list.d/mi50-*", "etc/apt/preferences.d/*"),
    "apt/history": ("var/log/apt/history.log",),
    "rocm/environment": ("etc/ld.so.conf.d/*.conf", "etc/profile.d/*rocm*", "etc/environment", "etc/mi50-aipc/*.env"),
    "rocm/alternatives": ("var/lib/dpkg/alternatives/rocm",),
    "settings/serve": ("etc/mi50-aipc/serve/*.json",),
    "settings/docker": ("etc/docker/daemon.json",),
    "fans/config.json": ("etc/mi50-fand/*.json",),
    "torch/proof": ("opt/mi50-aipc/venvs/*/.mi50-proof.json",),
    "build/logs": ("var/lib/mi50-aipc/build/**/*.log",),
    "record.json": ("var/lib/mi50-aipc/record.json",),
}
# Name in the bundle -> command. A program that is not there is said so in the listing.
COMMANDS: dict[str, tuple[str, ...]] = {
    "system/uname": ("uname", "-srvm"),
    "system/uptime": ("uptime",),
    "system/disks": ("df", "-hT", "-x", "tmpfs", "-x", "overlay", "-x", "squashfs"),
    "system/pci": ("lspci", "-nnk", "-d", "1002:"),
    "system/pci-tree": ("lspci", "-tv"),
    "system/dkms": ("dkms", "status"),
    "system/amdgpu-module": ("modinfo", "-F", "version", "amdgpu"),
    "system/units": ("systemctl", "list-units", "--all", "--no-pager", "--plain", "mi50-*", "docker*", "fancontrol*"),
    "system/failed": ("systemctl", "--failed", "--no-pager", "--plain"),
    "system/unit-files": ("systemctl", "cat", "--no-pager", "mi50-*"),
    "apt/packages": ("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\\n"),
    "apt/audit": ("dpkg", "--audit"),
    "apt/policy": ("apt-cache", "policy", "rocm", "rocm-core", "rocblas", "amdgpu-dkms"),
    "apt/held": ("apt-mark", "showhold"),
    "rocm/rocminfo": ("/opt/rocm/bin/rocminfo",),
    "rocm/rocm-smi": ("/opt/rocm/bin/rocm-smi",),
    "fans/status.json": ("mi50-fand", "status", "--json"),
    "torch/packages": ("/opt/mi50-aipc/venvs/torch/bin/python", "-m", "pip", "list", "--disable-pip-version-check"),
    "docker/containers": ("docker", "ps", "-a", "--no-trunc"),
    "docker/images": ("docker", "images", "--digests"),
    "docker/version": ("docker", "version"),
    "logs/kernel": ("journalctl", "-k", "-b", "--no-pager", "--no-hostname", "-o", "short-monotonic", "-n", "3000"),
    "logs/mi50": ("journalctl", "-u", "mi50-*", "-b", "--no-pager", "--no-hostname", "-o", "short-iso", "-n", "4000"),
}
# Kernel lines that say something of cards; the rest of a kernel's log is nobody's business.
KERNEL = r"amdgpu|kfd|\bdrm\b|radeon|pci|iommu|AMD-Vi|DMAR|mce|BAR \d|hwmon|oom|Out of memory|i2c|nct\d|it87|adt7"
FILE_BYTES = 512 * 1024  # of a file or an output the last part counts
COMMAND_S = 20
