"""What sharing a reel out to workers is worth."""
