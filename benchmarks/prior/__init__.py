"""What the trained parts of the generative half are worth, in a small world where all of them can be trained."""
