"""Training of a LoRA for each era of film."""
