"""Captioners: models that say in a sentence what a picture shows. Another one is one file and a line in `registry`."""
