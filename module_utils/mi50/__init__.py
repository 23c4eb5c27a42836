"""Logic of mi50-aipc: plain typed Python, standard library only, every root path injectable."""
