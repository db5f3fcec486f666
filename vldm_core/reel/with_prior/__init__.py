"""What a restoration with a prior does to single shots, and the record of it."""
