"""The lab: simulated MI50 nodes, an artifact mirror and the stand-ins that replace what a desk cannot hold.

Nothing outside this folder (and the tests) knows of it.
"""
