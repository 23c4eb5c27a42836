"""Runs the benchmark on a node: which servers there are, one of them at a time, and getting the results home.

What is measured, and how, is `mi50.bench`; here is only what happens around it.
"""
