"""Parts that the pre-restorer and the trained fusion are built of."""
