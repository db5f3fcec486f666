"""Defects at places of a frame: dirt, hair, scratches, stains, tears, splices and marks."""
