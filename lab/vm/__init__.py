"""A virtual machine without KVM: Debian's kernel and systemd, real hwmon drivers, hardware that a test can break."""
