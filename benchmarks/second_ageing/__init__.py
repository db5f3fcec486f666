"""A second ageing model, for measuring only: other mathematics than `vldm_core.ageing`, which networks train on."""
