"""The search for scratches: layers of a frame, paths through them, candidates, and the tests of what they are."""
