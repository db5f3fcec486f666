"""Training of the scratch detector: its examples, its task for the trainer, and its run."""
