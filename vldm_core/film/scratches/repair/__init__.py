"""Repairing scratches: what one adds to the picture, and taking that off again."""
