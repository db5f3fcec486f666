"""A film through a prior: settings, what goes in beside the frames, parts of shots, single shots, the record."""
