"""The cost benchmark: the time that restoring takes, by the size of the film, in a warm process."""
