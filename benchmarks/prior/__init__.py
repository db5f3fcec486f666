"""What each trained part of a prior is good for, measured in a small world in which all of them can be trained."""
