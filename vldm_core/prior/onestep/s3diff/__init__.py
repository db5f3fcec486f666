"""S3Diff: adapters that two scores of the picture's damage steer."""
