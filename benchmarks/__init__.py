"""Benchmarks of the project: measured here, never shipped."""
