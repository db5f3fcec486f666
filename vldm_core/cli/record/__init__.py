"""The record of a restoration on the command line."""
