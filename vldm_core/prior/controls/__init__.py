"""Published restoration controls, one folder per system."""
