"""The container engine of a node, its registries, and images that are what their digest says."""
