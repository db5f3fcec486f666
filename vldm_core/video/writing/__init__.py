"""Writing film files: encoding, sound, and what else lies in a file."""
