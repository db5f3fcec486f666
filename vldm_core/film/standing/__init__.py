"""Marks that stay where they are while the scene moves under them: hairs in the gate, dirt on the lens."""
