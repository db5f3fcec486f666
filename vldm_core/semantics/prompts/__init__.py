"""Prompts of a shot, their words, and the conditioning that is made of them."""
