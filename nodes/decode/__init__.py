"""Nodes from latents back to film."""
