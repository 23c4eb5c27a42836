"""Compiled artifacts built once for all compatible hosts, cached under a key of everything that shapes them.

On the controller: `recipe` (what is built), `elect` (where), `follow` (watching it), `cache` (keeping it).
On the node: `facts` and `question` (what it is and has), `job` and `unit` (running a build), `store` (keeping it).
In the build's own unit, as its unprivileged user: `runner`.
"""
