"""Stack files: load, validate, resolve addresses, lock. Runs on the controller (PyYAML and jsonschema)."""
