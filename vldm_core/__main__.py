"""``python -m vldm_core``."""

from .cli.app import main

main()
