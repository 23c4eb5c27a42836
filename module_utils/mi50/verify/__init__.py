"""Does a node work: everything a finished node must show, looked at and judged, nothing changed."""
