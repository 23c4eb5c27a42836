"""What runs inside the virtual machine, as root. Standard library only."""
