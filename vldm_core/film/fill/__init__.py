"""Filling the holes that dirt leaves: from neighbours in time, from what shines through, by inpainting."""
