"""Where and how what a prior has made of a film is kept, for an interrupted run to go on from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from ...semantics.table.table import ShotTable
from ...video.shots import Shot
from ..passes import Source
from ..resumable.keys import film_key, key_of, maps_key, pack_key
from ..resumable.parts import KeptParts, facts_of, pipeline_key
from ..resumable.run import RunSettings
from ..resumable.work_folder import WorkFolder
from .sampling import ShotSampling
from .settings import PriorReelSettings

_OF_SHOTS = ("reel", "table", "prompt", "negative_prompt", "strength", "steps", "seed")
"""Settings that are asked for each shot, or show in the frames that go into the prior."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PriorWork:
    """Where and how what is finished is kept.

    Attributes:
        run: Of the repair, whose chunks stay until the whole film is finished.
        folder: The folder.
        depends: Key of what the prior's part of every shot depends on.
        table: What is said of shots, and shows in more than their prompts.
    """

    run: RunSettings
    folder: WorkFolder
    depends: str
    table: ShotTable | None

    @classmethod
    def of(
        cls,
        source: Source,
        destination: str | os.PathLike[str],
        pipeline: Any,
        settings: PriorReelSettings,
        run: RunSettings | None,
        folder: WorkFolder | None,
    ) -> Self | None:
        """Return it, or None where nothing is to be kept or the film lies in memory."""
        if run is None or film_key(source) is None or maps_key(settings.reel.maps) is None:
            return None
        # What is asked for each shot is left out.
        how = {name: value for name, value in vars(settings).items() if name not in _OF_SHOTS}
        if settings.pre_restores:
            how["prerestore"] = settings.reel.prerestore
        restoration = settings.restoration
        how["restoration"] = replace(restoration, cfg=replace(restoration.cfg, scale=1.0))
        depends = key_of(pack=pack_key(), prior=facts_of(how), pipeline=pipeline_key(pipeline))
        return cls(
            run=replace(run, keep=True),
            folder=folder or WorkFolder.beside(destination),
            depends=depends,
            table=settings.table,
        )

    def parts(self, sampled: Mapping[int, ShotSampling]) -> KeptParts:
        """What the prior has made.

        Args:
            sampled: How each shot is sampled, by its first frame.
        """

        def said(shot: Shot) -> Any:
            rows = () if self.table is None else [facts_of(row) for row in self.table if row.first == shot.first]
            return [facts_of(sampled[shot.first]), *rows]

        return KeptParts(self.folder, self.depends, said)
