"""What a frame shows, by local models: features, tags, era and tones."""
