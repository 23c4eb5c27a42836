"""Model files: what they hold, whether they fit on the cards, and having them on a node once for all engines."""
