"""What a run was asked to do, kept in its folder so that it can go on without being asked again."""

import json
import os
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from ...errors import SettingsError
from ...film.box_fixes import parse_fixes
from ...stages.preset import settings_from, settings_text
from ...stages.settings import StageSettings
from ...video.reading.reader import ReadSettings
from ...video.shots import ShotSettings
from ...video.writing.encoding import WriteSettings
from ..passes import Source
from ..restore import ReelSettings
from ..shot_choices import ShotChoices


def remembered(
    source: Source,
    destination: str | os.PathLike[str],
    settings: ReelSettings,
    report: Path | None = None,
    storage: str | None = None,
) -> dict[str, Any]:
    """Return what a run is asked to do as JSON holds it; paths become absolute."""
    rate = settings.read.sequence_rate
    return {
        "source": str(Path(source).absolute()) if isinstance(source, str | os.PathLike) else None,
        "destination": str(Path(destination).absolute()),
        "stages": json.loads(settings_text(settings)),
        "read": {"deinterlace": settings.read.deinterlace, "sequence_rate": None if rate is None else str(rate)},
        "shots": asdict(settings.shots),
        "choices": None if settings.choices is None else json.loads(settings.choices.to_json()),
        "write": asdict(settings.write),
        "maps": len(settings.maps),
        "fixes": [str(fix) for fix in settings.fixes],
        "mask_films": None if settings.mask_films is None else str(settings.mask_films.absolute()),
        "record": None if settings.record is None else str(settings.record.absolute()),
        "review": None if settings.review is None else str(settings.review.absolute()),
        "protect": None if settings.protect is None else str(settings.protect.absolute()),
        "strict": settings.strict,
        "report": None if report is None else str(report.absolute()),
        "storage": storage,
    }


def recalled_report(facts: dict[str, Any]) -> Path | None:
    """Return the file that a report of the run is to be written to, from what `remembered` made; None for none."""
    report = facts.get("report")
    return None if report is None else Path(report)


def recalled_storage(facts: dict[str, Any]) -> str | None:
    """Return the address that chunks of the run are sent to, from what `remembered` made; None for none."""
    storage = facts.get("storage")
    return storage if isinstance(storage, str) else None


def recalled(facts: dict[str, Any]) -> tuple[Path, Path, ReelSettings]:
    """Return source, destination and settings of a run from what `remembered` made.

    Raises:
        SettingsError: The facts do not say how to go on.
    """
    try:
        if facts["source"] is None or facts["maps"]:
            raise SettingsError(
                "this run takes a film or maps of damage that its folder does not name; give the command that began it "
                "again: it goes on where it was"
            )
        stages = settings_from(json.dumps(facts["stages"]))
        rate = facts["read"]["sequence_rate"]
        settings = ReelSettings(
            **{field.name: getattr(stages, field.name) for field in fields(StageSettings)},
            read=ReadSettings(
                deinterlace=facts["read"]["deinterlace"], sequence_rate=None if rate is None else Fraction(rate)
            ),
            shots=ShotSettings(**facts["shots"]),
            choices=None if facts["choices"] is None else ShotChoices.from_json(json.dumps(facts["choices"])),
            write=WriteSettings(**facts["write"]),
            fixes=parse_fixes(" ".join(facts["fixes"])),
            mask_films=None if facts["mask_films"] is None else Path(facts["mask_films"]),
            record=None if facts["record"] is None else Path(facts["record"]),
            review=None if facts["review"] is None else Path(facts["review"]),
            protect=None if facts["protect"] is None else Path(facts["protect"]),
            strict=facts["strict"],
        )
        return Path(facts["source"]), Path(facts["destination"]), settings
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"what the folder says of its run cannot be read ({error}); give its command again"
        ) from error
