#!/bin/sh
# Installs packages in a fresh debootstrap tree: $1 is the tree, the rest are packages. Nothing is started in there.
set -eu
tree=$1
shift
# A snapshot of the archive may be older than its validity; who signed it is still checked.
echo 'Acquire::Check-Valid-Until "false";' >"$tree/etc/apt/apt.conf.d/90lab"
printf 'path-exclude /usr/share/%s/*\n' man doc locale info >"$tree/etc/dpkg/dpkg.cfg.d/lean"
printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
chmod 0755 "$tree/usr/sbin/policy-rc.d"
# Names are looked up as on this machine, by what resolv.conf really is.
cat /etc/resolv.conf >"$tree/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive
chroot "$tree" apt-get update -q
chroot "$tree" apt-get install -qy --no-install-recommends "$@"
chroot "$tree" apt-get clean
rm -rf "$tree/var/lib/apt/lists/"* "$tree/usr/share/man" "$tree/usr/share/doc" "$tree/usr/share/locale"
# Mount points of the units: models, shader cache.
mkdir -p "$tree/srv/models" "$tree/var/cache/mi50-lab-mesa"
