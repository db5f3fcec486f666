"""Nodes that compare two versions of a film."""
