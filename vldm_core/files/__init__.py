"""Files of every kind but film: weights, text, and unfinished work."""
