"""What restoring a reel takes of memory."""
