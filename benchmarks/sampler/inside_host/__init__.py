"""What the sampler benchmark runs inside the host: programs whose folder is on the path, and nothing else of ours."""
