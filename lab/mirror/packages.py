"""What AMD's repository of one ROCm release holds in the lab: AMD's names, versions and paths, little inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.mirror.apt import Deb

STANDINS = Path(__file__).parents[1] / "standins"
SUITE = "jammy"
SUFFIX = "22.04"


@dataclass(frozen=True)
class Release:
    """One ROCm release: its number, AMD's build suffix and the driver that came with it."""

    number: str
    build: str
    components: dict[str, str]
    driver: str
    gfx906: bool

    def version(self, component: str) -> str:
        """AMD's apt version: upstream version, release number, build, distribution suffix."""
        upstream = self.components.get(component, self.number)
        return f"{upstream}.{self.build}~{SUFFIX}"


RELEASES = (
    Release(
        "6.4.3",
        "60403-128",
        {
            "rocblas": "4.4.1",
            "rocminfo": "1.0.0",
            "rocm-smi-lib": "7.7.0",
            "amd-smi-lib": "25.5.1",
            "hipblas": "2.4.0",
            "hipblaslt": "0.12.1",
            "rocsolver": "3.28.2",
        },
        "1:6.12.12.60403-2194681.22.04",
        gfx906=False,
    ),
    Release(
        "6.3.3",
        "60303-74",
        {
            "rocblas": "4.3.0",
            "rocminfo": "1.0.0",
            "rocm-smi-lib": "7.4.0",
            "amd-smi-lib": "24.7.1",
            "hipblas": "2.3.0",
            "hipblaslt": "0.10.0",
            "rocsolver": "3.27.0",
        },
        "1:6.10.5.60303-2109964.22.04",
        gfx906=True,
    ),
)

ALTERNATIVE = """#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
update-alternatives --install /opt/rocm rocm /opt/rocm-{number} {priority}
"""
ALTERNATIVE_OFF = """#!/bin/sh
set -e
[ "$1" != remove ] || update-alternatives --remove rocm /opt/rocm-{number}
"""
DKMS = """#!/bin/sh
# STAND-IN for amdgpu-dkms: builds nothing. A file makes it fail as a DKMS build does: dpkg is left half-configured.
# Does not prove: that the driver builds on any kernel.
set -e
[ "$1" = configure ] || exit 0
if [ -e /srv/mi50-lab/standin_dkms_fails ]; then
  echo "Error! Bad return status for module build on kernel: $(uname -r) (x86_64)" >&2
  echo "Consult /var/lib/dkms/amdgpu/6.12.12/build/make.log for more information." >&2
  exit 10
fi
"""
RUNTIME = ("rocm-core", "rocminfo", "rocm-language-runtime")
LIBRARIES = ("rocblas", "hipblas", "hipblaslt", "rocsolver")


def userspace(release: Release, rocblas_tree: Path) -> list[Deb]:
    """Every package of rocm/apt/<release>; `rocblas_tree` holds the real library files under its final paths."""
    number, prefix = release.number, f"opt/rocm-{release.number}"

    def needs(*names: str) -> str:
        return ", ".join(f"{name} (= {release.version(name)})" for name in names)

    def text(name: str) -> str:
        return (STANDINS / name).read_text()

    priority = str(100 + int(release.build.split("-")[0]) % 10000)
    core = Deb(
        "rocm-core",
        release.version("rocm-core"),
        files={f"{prefix}/.info/version": f"{number}-{release.build.split('-')[1]}\n"},
        scripts={
            "postinst": ALTERNATIVE.format(number=number, priority=priority),
            "prerm": ALTERNATIVE_OFF.format(number=number),
        },
    )
    tool = {f"{prefix}/bin/{{}}": text("standin_smi")}
    debs = [
        core,
        Deb(
            "rocminfo",
            release.version("rocminfo"),
            needs("rocm-core") + ", python3",
            files={f"{prefix}/bin/rocminfo": text("standin_rocminfo")},
        ),
        Deb("rocm-language-runtime", release.version("rocm-language-runtime"), needs("rocm-core")),
        Deb(
            "rocm-smi-lib",
            release.version("rocm-smi-lib"),
            needs("rocm-core"),
            files={key.format("rocm-smi"): value for key, value in tool.items()},
        ),
        Deb(
            "amd-smi-lib",
            release.version("amd-smi-lib"),
            needs("rocm-core"),
            files={key.format("amd-smi"): value for key, value in tool.items()},
        ),
        Deb("rocm-hip-runtime", release.version("rocm-hip-runtime"), needs(*RUNTIME)),
        Deb(
            "rocblas",
            release.version("rocblas"),
            needs("rocm-core"),
            tree=rocblas_tree,
            files={f"{prefix}/lib/librocblas.so.4": text("standin_library.txt")},
        ),
        *(Deb(name, release.version(name), needs("rocm-core", "rocblas")) for name in LIBRARIES[1:]),
        Deb("rocm-hip-libraries", release.version("rocm-hip-libraries"), needs("rocm-hip-runtime", *LIBRARIES)),
        Deb("rocm-hip-sdk", release.version("rocm-hip-sdk"), needs("rocm-hip-libraries")),
        Deb("rocm", release.version("rocm"), needs("rocm-hip-sdk", "rocm-smi-lib", "amd-smi-lib")),
    ]
    return debs


def driver(release: Release) -> list[Deb]:
    """The packages of amdgpu/<release>/ubuntu."""
    return [Deb("amdgpu-dkms", release.driver, architecture="all", scripts={"postinst": DKMS})]
