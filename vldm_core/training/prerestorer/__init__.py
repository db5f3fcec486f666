"""Training of the pre-restorer: its examples, its task for the trainer, and its run."""
