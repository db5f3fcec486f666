"""Frames between two stages of a stream: windows, reading ahead, and values held in bounded memory."""
