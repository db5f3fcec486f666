"""Training the network that judges candidates for scratches."""
