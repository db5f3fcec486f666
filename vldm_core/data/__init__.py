"""Clean shots, the same shots aged, and which of them are for validation."""
