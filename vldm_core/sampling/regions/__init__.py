"""What a denoiser sees at a time: windows over frames, tiles over the picture, and the plan of both."""
