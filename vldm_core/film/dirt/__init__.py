"""Transient damage: dirt, dust, hair and blotches, found by what a frame shows and its neighbours do not."""
