"""Splices: the seam where film was cut and cemented, and the frame line that comes into sight when the film jumps."""
