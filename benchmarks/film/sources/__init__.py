"""Clean shots and real film of the film benchmark."""
