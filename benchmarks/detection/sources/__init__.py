"""Clean shots and real film of the detection benchmark."""
