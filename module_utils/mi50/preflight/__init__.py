"""Preflight: what the inventory and the host are, what the stack asks of them, and one report of the difference."""
