"""Film files in and out as a stream, shots, geometry and optical flow."""
