"""The node that restores a film from file to file."""
