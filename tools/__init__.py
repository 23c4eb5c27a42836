"""Generators and checkers of this repository; nothing here runs on a node."""
