"""apt: keyrings, restricted refresh of one source, and what its package lists offer."""
