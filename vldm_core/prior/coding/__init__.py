"""What goes into the prior and comes out of it: pictures as latents, prompts as text features."""
