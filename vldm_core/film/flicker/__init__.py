"""Brightness that changes from frame to frame: measured over a shot, then removed."""
