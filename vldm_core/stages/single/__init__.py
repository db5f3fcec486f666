"""The stages by themselves, a file for each kind of damage; :mod:`vldm_core.stages.plan` puts them in order."""
