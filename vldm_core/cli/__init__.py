"""Command line: ``python -m vldm_core …``."""
