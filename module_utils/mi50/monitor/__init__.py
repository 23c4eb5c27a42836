"""What is measured on a node for Prometheus, and what Prometheus is told to ask for."""
