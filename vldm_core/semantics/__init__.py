"""What the film shows: key frames, captions, tags and era, one steady description for every shot."""
