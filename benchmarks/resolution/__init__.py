"""The resolution study: what a restorer is worth at different working sizes."""
