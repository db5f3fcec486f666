"""Training the network that tells dirt from everything else."""
