"""ROCm on a node: what is installed, which kernel driver fits, whether a reboot is due."""
