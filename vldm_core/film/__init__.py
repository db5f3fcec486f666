"""What film does to a picture, how to see it, and how to undo it."""
