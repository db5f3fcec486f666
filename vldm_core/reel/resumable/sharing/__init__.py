"""Sharing the work of a reel out: to processes of this computer, or to a Ray cluster."""
