"""Nodes of the restoration controls."""
