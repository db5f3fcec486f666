"""Nodes of pre-restoration."""
