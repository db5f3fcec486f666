"""What each trained part is tried on, one module a part; each returns a table and whether what was aimed at holds."""
