"""Training on the command line: ``python -m vldm_core train …``."""
