"""Scratches that stay at their place, drift or flash: detection, tracks and repair."""
