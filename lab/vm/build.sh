#!/bin/sh
# Runs inside a container of the lab's base image and makes /out: kernel, initrd, root file system of the virtual machine.
# /recipe holds this folder. Everything comes from Debian as the base image's apt is configured.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get update -q
# In the machine: the peers that the daemon is compared with, under their own units.
apt-get install -qy --no-install-recommends fancontrol thinkfan kmod
systemctl disable -q fancontrol thinkfan ssh 2>/dev/null || true
mkdir -p /out /tree
tar -C / --one-file-system -c --exclude=./out --exclude=./tree --exclude=./recipe --exclude='./usr/share/doc/*' \
  --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' --exclude='./var/cache/apt/*' \
  --exclude='./var/lib/apt/lists/*' --exclude='./tmp/*' . | tar -C /tree -x

# Only to build.
apt-get install -qy --no-install-recommends linux-headers-amd64 make busybox-static cpio
version=$(basename /usr/lib/modules/*-amd64)
cd /tmp
apt-get download -q "linux-image-$version"
dpkg-deb -x linux-image-*.deb /tmp/kernel
cp "/tmp/kernel/boot/vmlinuz-$version" /out/vmlinuz
cp -r /recipe/kernel /tmp/modules
make -C "/usr/lib/modules/$version/build" M=/tmp/modules modules

# The modules that the machine needs, with what they depend on.
depmod -b /tmp/kernel "$version"
wanted() { for name in "$@"; do modprobe -d /tmp/kernel -S "$version" --show-depends "$name"; done | awk '/^insmod/ && !seen[$2]++ { print $2 }'; }
to=/tree/usr/lib/modules/$version
mkdir -p "$to/extra"
wanted virtio_pci virtio_blk ext4 virtio_console adt7475 w83795 nct7802 i2c-stub i2c-dev softdog | while read -r file; do
  install -D -m 644 "$file" "$to/${file#*/lib/modules/"$version"/}"
done
cp "/tmp/kernel/lib/modules/$version"/modules.builtin* "/tmp/kernel/lib/modules/$version/modules.order" "$to/"
cp /tmp/modules/*.ko "$to/extra/"
depmod -b /tree "$version"

# A first user space of three lines: load the disk's drivers, mount it, go there.
mkdir -p /initrd/bin /initrd/dev /initrd/root
cp /bin/busybox /initrd/bin/
{
  echo '#!/bin/busybox sh'
  wanted virtio_pci virtio_blk ext4 | while read -r file; do
    cp "$file" /initrd/
    echo "/bin/busybox insmod /$(basename "$file")"
  done
  echo '/bin/busybox mount -t devtmpfs dev /dev'
  echo '/bin/busybox mount -t ext4 /dev/vda /root && exec /bin/busybox switch_root /root /lib/systemd/systemd'
} >/initrd/init
chmod 755 /initrd/init
(cd /initrd && find . | cpio -o -H newc --quiet) >/out/initrd

rm -rf /tree/var/log/journal
# Units that the containers of the lab have masked, and this machine needs; and those that only cost its time.
systemctl --root=/tree unmask -q systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket \
  systemd-udev-trigger.service sys-kernel-debug.mount
systemctl --root=/tree mask -q getty@.service serial-getty@.service systemd-networkd.service systemd-logind.service \
  e2scrub_reap.service systemd-pstore.service ssh.service systemd-random-seed.service systemd-update-utmp.service \
  systemd-update-utmp-runlevel.service fstrim.timer dpkg-db-backup.timer e2scrub_all.timer systemd-tmpfiles-clean.timer \
  systemd-hwdb-update.service ldconfig.service systemd-journal-catalog-update.service systemd-update-done.service
systemctl --root=/tree set-default -q multi-user.target
install -d /tree/usr/local/lib/vm-agent/lab/vm/agent
install -m 644 /recipe/agent/*.py /tree/usr/local/lib/vm-agent/lab/vm/agent/
install -m 644 /recipe/agent/vm-agent.service /tree/etc/systemd/system/
systemctl --root=/tree enable -q vm-agent.service
echo mi50-vm >/tree/etc/hostname
echo 00112233445566778899aabbccddeeff >/tree/etc/machine-id
mkfs.ext4 -q -F -O ^has_journal -d /tree /out/root.ext4 900M
# The machine's name for itself, in what is measured with it.
echo "$version" >/out/version
dpkg-query -W -f '${Package} ${Version}\n' systemd python3 fancontrol thinkfan >>/out/version
