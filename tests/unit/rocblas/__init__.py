"""Tests of module_utils/mi50/rocblas against a small synthetic rocBLAS."""
