"""Nodes for restorers that need a single step."""
