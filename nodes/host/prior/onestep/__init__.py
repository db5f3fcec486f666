"""One-step restorers in the host."""
