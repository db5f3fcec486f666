"""A clip through a one-step restorer: how, on which host, and from frames to frames."""
