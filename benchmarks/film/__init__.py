"""The film benchmark: detection and repair beside textbook methods."""
