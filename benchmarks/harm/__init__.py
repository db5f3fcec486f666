"""What restoring does to clean content."""
