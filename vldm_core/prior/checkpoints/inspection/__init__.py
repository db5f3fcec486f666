"""What a checkpoint is: told from the names and shapes of its tensors, without loading them."""
