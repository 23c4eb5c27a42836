"""The benchmark that runs on the node: client, adapters, sampler, metrics, gates, records. Standard library only."""
