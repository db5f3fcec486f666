"""``python -m vldm_core``."""

from .cli import main

main()
