"""Textbook detectors and repairs to measure against."""
