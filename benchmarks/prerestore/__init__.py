"""The pre-restoration benchmark."""
