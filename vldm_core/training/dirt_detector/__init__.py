"""Training of the dirt detector: its examples, its task for the trainer, and its run."""
