"""Nodes that say what a film shows."""
