"""vLLM on gfx906: what of a model and its settings works there, and the container it runs in."""
