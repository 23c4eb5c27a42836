"""lmdeploy's PyTorch engine on gfx906: what of a model and its settings it can serve, and how it is started."""
