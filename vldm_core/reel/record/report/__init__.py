"""A report of a record, for a browser."""
