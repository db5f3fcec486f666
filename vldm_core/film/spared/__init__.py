"""What is no damage though it looks like it: burned-in graphics, and marks that belong to the scene."""
