"""The support bundle: what a maintainer needs of a node, without secrets and without names of machines or people."""
