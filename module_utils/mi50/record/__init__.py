"""What a node was before this project worked on it, what came with it, and the way back. See docs/uninstall.md."""
