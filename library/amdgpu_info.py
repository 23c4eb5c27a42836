#!/usr/bin/python
# Copyright: (c) 2026, the mi50-aipc authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: inventory of AMD GPUs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: amdgpu_info
short_description: Inventory of AMD GPUs, by PCI address, from sysfs and KFD
version_added: "0.1.0"
description:
  - Lists every AMD GPU of the host with its ids, gfx target, VRAM and how much of it the CPU can address, VBIOS,
    PCIe link, NUMA node, render node, hwmon directory, power cap range and error counters.
  - Cards are matched by PCI ids, never by names, and ordered by PCI address; the numbers of cardN, hwmonN, KFD nodes
    and tools differ from each other and change between boots.
  - Reads files only. No tool of ROCm is needed, so it works before anything is installed.
  - What cannot be read is V(none), and a sentence in RV(gpus[].problems) says why; the module does not fail for it.
options:
  sysfs_root:
    description: Directory where sysfs is mounted.
    type: path
    default: /sys
  proc_root:
    description: Directory where procfs is mounted; only C(cmdline) is read, to say why no driver is bound.
    type: path
    default: /proc
  dev_root:
    description: Directory of the device nodes, to see whether C(kfd) and the render nodes exist.
    type: path
    default: /dev
attributes:
  check_mode:
    description: Runs the same in check mode, because it changes nothing.
    support: full
  diff_mode:
    description: There is no change to show.
    support: none
  platform:
    description: Systems it runs on.
    platforms: linux
    support: full
author:
  - mi50-aipc authors (@mi50-aipc)
"""

EXAMPLES = r"""
- name: List the GPUs
  amdgpu_info:
  register: inventory

- name: Stop when there is no gfx906 card
  ansible.builtin.assert:
    that: inventory.gfx906 | length > 0
    fail_msg: No MI50, MI60 or Radeon VII found.

- name: Show what is wrong with each card
  ansible.builtin.debug:
    msg: "{{ item.pci_address }}: {{ item.problems }}"
  loop: "{{ inventory.gpus }}"
  loop_control:
    label: "{{ item.pci_address }}"
"""

RETURN = r"""
gpus:
  description: Every AMD GPU, integrated ones included, by PCI address.
  returned: always
  type: list
  elements: dict
  contains:
    pci_address:
      description: Domain, bus, device and function.
      type: str
      sample: "0000:03:00.0"
    vendor_id:
      description: PCI vendor id.
      type: str
      sample: "0x1002"
    device_id:
      description: PCI device id.
      type: str
      sample: "0x66a1"
    revision:
      description: PCI revision; 06 of 66a1 is a Radeon Pro VII.
      type: str
      sample: "0x02"
    subsystem:
      description: Ids of the board's maker, keys RV(ignore:vendor) and RV(ignore:device).
      type: dict
      sample: {"vendor": "0x1002", "device": "0x0834"}
    class:
      description: PCI class; a passive card is a display controller (0380), not VGA.
      type: str
      sample: "0x038000"
    driver:
      description: Kernel driver bound to the card.
      type: str
      sample: amdgpu
    is_integrated:
      description:
        - Whether the GPU is part of the processor.
        - True when KFD's node has CPU cores and SIMDs, when the id is one of the driver's APU ids, or when the
          processor's security processor is a function of the same slot.
      type: bool
      sample: false
    gfx_target:
      description: Target of compilers and libraries.
      type: str
      sample: gfx906
    gfx_target_source:
      description: V(kfd), or V(device-id) when KFD has no node for the card.
      type: str
      sample: kfd
    compute_units:
      description: Active compute units; 60 is an MI50, 64 an MI60.
      type: int
      sample: 60
    kfd_node:
      description: Number of the node in KFD's topology.
      type: int
      sample: 1
    render_node:
      description: Path of the render node.
      type: str
      sample: /dev/dri/renderD128
    card:
      description: Name of the DRM card.
      type: str
      sample: card1
    hwmon:
      description: Directory of temperatures and power, under the device; its number changes between boots.
      type: str
      sample: /sys/bus/pci/devices/0000:03:00.0/hwmon/hwmon3
    vram_total:
      description: VRAM in bytes.
      type: int
      sample: 34342961152
    vram_visible:
      description: VRAM in bytes that the CPU can address.
      type: int
      sample: 34342961152
    bar_size:
      description: Size of BAR 0 in bytes; 0 when the firmware gave it no address.
      type: int
      sample: 34359738368
    bar_ok:
      description: Whether all VRAM is visible; a card with a 16 GB BAR offers Vulkan half of its 32 GB.
      type: bool
      sample: true
    vbios:
      description: Part number of the VBIOS.
      type: str
      sample: 113-D1631700-111
    unique_id:
      description: The card's own id, the same in every slot.
      type: str
      sample: "18f68e602b8a790f"
    numa_node:
      description: NUMA node; V(none) when the firmware names none.
      type: int
      sample: 0
    link:
      description:
        - Slowest PCIe hop between the GPU and the root port, and what the card could do.
        - The GPU function alone reports the link inside the card, which is always x16.
        - Speed is lowered while a card idles.
      type: dict
      sample: {"speed_gts": 8.0, "width": 16, "max_speed_gts": 16.0, "max_width": 16, "measured_at": "0000:00:01.1"}
    power_cap:
      description: Power limit and its range in watts.
      type: dict
      sample: {"current": 225, "min": 0, "max": 225, "default": 225}
    ras:
      description: Error counters by block; C(umc) is the memory. V(none) where there are none.
      type: dict
      sample: {"umc": {"correctable": 0, "uncorrectable": 0}}
    product:
      description: Name by ids, revision, compute units and VRAM.
      type: str
      sample: AMD Instinct MI50 32GB
    product_note:
      description: What the name rests on where the ids are shared by several products.
      type: str
      sample: 66a1 is shared; told by 60 compute units and VRAM size.
    problems:
      description: Plain sentences on what is missing or wrong.
      type: list
      elements: str
      sample: []
gfx906:
  description: PCI addresses of the gfx906 cards.
  returned: always
  type: list
  elements: str
  sample: ["0000:03:00.0"]
kfd:
  description: Whether the compute device node exists.
  returned: always
  type: bool
  sample: true
module:
  description: The kernel module amdgpu; RV(ignore:version) is set only for the build of DKMS.
  returned: always
  type: dict
  sample: {"loaded": true, "version": null}
problems:
  description: Plain sentences that concern the host rather than one card.
  returned: always
  type: list
  elements: str
  sample: []
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mi50.amdgpu import collect


def main() -> None:
    """Read and report."""
    module = AnsibleModule(
        argument_spec={
            "sysfs_root": {"type": "path", "default": "/sys"},
            "proc_root": {"type": "path", "default": "/proc"},
            "dev_root": {"type": "path", "default": "/dev"},
        },
        supports_check_mode=True,
    )
    roots = [Path(module.params[name]) for name in ("sysfs_root", "proc_root", "dev_root")]
    for name, root in zip(("sysfs_root", "proc_root", "dev_root"), roots):
        if not root.is_dir():
            module.fail_json(msg=f"{name}: {root} is not a directory; give the place where it is mounted.")
    module.exit_json(changed=False, **collect(*roots))


if __name__ == "__main__":
    main()
