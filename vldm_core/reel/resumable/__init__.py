"""Restoring a reel in chunks that are kept as they are finished: whatever ends a run costs no more than one."""
