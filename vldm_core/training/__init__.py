"""Training: one trainer, and a folder for each network with its examples, its task and its run."""
