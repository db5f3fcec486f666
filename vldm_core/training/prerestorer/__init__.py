"""Training the pre-restoration network."""
