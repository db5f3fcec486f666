"""Nodes of the film stages."""
