"""Long proofs of the module gfx906_rocblas, on real data: `python -m tests.proofs --help`."""
