"""The torch environments of a node: one virtual environment with torch, and light ones on top that share it."""
