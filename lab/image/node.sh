#!/bin/sh
# Runs inside the container that becomes the node image: the login and the SSH server.
set -eu
useradd --create-home --shell /bin/bash ops
install -d -m 0700 -o ops -g ops /home/ops/.ssh
install -m 0600 -o ops -g ops /srv/mi50-lab/ssh/authorized_keys /home/ops/.ssh/authorized_keys
rm -r /srv/mi50-lab/ssh
printf 'ops ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/ops
chmod 0440 /etc/sudoers.d/ops
printf 'PasswordAuthentication no\nPermitRootLogin no\nUseDNS no\n' >/etc/ssh/sshd_config.d/lab.conf
chmod 0755 /usr/local/sbin/standin_devices
# A kernel with amdgpu makes them at every start; here a restarted container has lost them.
cat >/etc/systemd/system/lab-devices.service <<'UNIT'
[Unit]
Description=Device files of the simulated cards
Before=ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'exec /usr/local/sbin/standin_devices "$(basename "$(readlink /srv/mi50-lab/sys)")"'
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable ssh.service lab-devices.service
rm -f /etc/ssh/ssh_host_*
# As on an installed machine: the package lists exist, though they may be old.
apt-get update -q
