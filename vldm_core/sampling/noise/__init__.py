"""Start noise of a clip."""
