"""What was changed in a film, and what was there before: written beside the result, read, undone and reported."""
