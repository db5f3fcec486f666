"""The cost of one-step restorers beside what no restorer on the prior can do without."""
