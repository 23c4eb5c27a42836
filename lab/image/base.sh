#!/bin/sh
# Turns a debootstrap tree into a base that boots under systemd in a container. $1 is the tree.
set -eu
tree=$1
: >"$tree/etc/machine-id"
rm -f "$tree/etc/apt/sources.list" "$tree/etc/ssh/ssh_host_"*
rm -rf "$tree/var/lib/apt/lists/"* "$tree/var/cache/apt/"*.bin "$tree/var/cache/apt/archives/"*.deb
mkdir -p "$tree/etc/apt/sources.list.d"
# These units drive hardware that belongs to the machine underneath.
for unit in systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service \
  systemd-timesyncd.service getty.target sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
  dev-hugepages.mount dev-mqueue.mount apt-daily.timer apt-daily-upgrade.timer; do
  ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done
