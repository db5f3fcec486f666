"""How a prior samples each shot of a film: what the film's settings, the table of shots and its own row say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...errors import SettingsError
from ...sampling.noise.clip_noise import mixed_seed
from ...semantics.prompts.prompt_text import written_prompts
from ...semantics.table.table import ShotTable
from ...video.shots import Shot
from ..shot_choices import ShotChoices

_SAID = ("prompt", "negative", "strength", "steps", "cfg")
"""What a row says in the same words."""


@dataclass(frozen=True, kw_only=True)
class ShotSampling:
    """How one shot is sampled.

    Attributes:
        apply: Whether it is; else it stays as repaired.
        skip: Whether nothing at all is done to it.
        prompt: What it shows.
        negative: What it shall not show.
        strength: How far it is noised, 0 … 1.
        steps: Steps of the whole schedule.
        cfg: How strongly the prompts guide.
        seed: Of its noise.
    """

    apply: bool = True
    skip: bool = False
    prompt: str
    negative: str
    strength: float
    steps: int
    cfg: float
    seed: int


def samplings(
    film: ShotSampling, table: ShotTable | None, choices: ShotChoices | None, shots: Sequence[Shot]
) -> Mapping[int, ShotSampling]:
    """Return how each shot is sampled, by its first frame.

    Args:
        film: What holds for the film.
        table: Prompts of its shots, or None.
        choices: What is done otherwise to single shots, which the shots follow, or None.
        shots: The shots; those of the table where there is one.
    """
    written = {}
    if table is not None:
        prompts = written_prompts(table, negative=film.negative)
        written = {described.first: said for described, said in zip(table, prompts, strict=True)}
    found = {}
    for shot in shots:
        told, row = written.get(shot.first), None if choices is None else choices.at(shot.first)
        how = replace(film, seed=mixed_seed(film.seed, shot.first))
        if told is not None:
            how = replace(how, prompt=told.prompt or film.prompt, negative=told.negative)
        if row is not None:
            own = row.prior
            said = {name: getattr(own, name) for name in _SAID if getattr(own, name) is not None}
            if own.seed is not None:
                said["seed"] = mixed_seed(own.seed, shot.first)
            how = replace(how, apply=own.apply and not row.skip, skip=row.skip, **said)
        found[shot.first] = how
    return found


def check_together(table: ShotTable | None, choices: ShotChoices | None) -> None:
    """Refuse a table of settings that parts the shots of the table of prompts.

    Raises:
        SettingsError: It does, or reaches beyond the film.
    """
    if table is None or choices is None:
        return
    own = {shot.first for shot in table.shots}
    for shot in choices.parted(table.shots):
        if shot.first not in own:
            raise SettingsError(
                f"the table of settings parts a shot of the table of shots at frame {shot.first}; let its rows begin "
                "and end where that table's do"
            )
