"""The neighbours of a frame brought to it along the motion of its shot, and what they agree on."""
