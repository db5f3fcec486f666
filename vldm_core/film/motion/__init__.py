"""How the scene moves in a shot."""
