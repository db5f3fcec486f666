"""The detection benchmark: detection and repair beside textbook methods."""
