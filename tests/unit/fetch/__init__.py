"""Tests of mi50.fetch and its module."""
