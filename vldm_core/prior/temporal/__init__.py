"""Temporal layers: VideoLDM's and AnimateDiff's, and their files."""
