"""Every system says how it is run where it is published."""

from vldm_core.prior.controls.defaults import DEFAULTS
from vldm_core.prior.controls.reading import FORMATS
from vldm_core.sampling.start import StartSettings


def test_every_known_system_has_its_defaults():
    for known in FORMATS:
        assert known.defaults is known.published[0]


def test_values_are_ones_that_sampling_takes():
    for versions in DEFAULTS.values():
        assert len({version.version for version in versions}) == len(versions)
        for version in versions:
            StartSettings(mode=version.start)
            assert version.steps >= 1
            assert version.cfg >= 1
