"""What goes with a restored film: a copy to look at, and a report of what was done."""
