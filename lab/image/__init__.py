"""The image of a lab node: Debian 12 by debootstrap, systemd as PID 1, nothing of ROCm in it."""
