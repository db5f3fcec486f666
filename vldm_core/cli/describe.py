"""The command that describes a film: what every shot shows, as a table to read, to edit and to restore with."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SettingsError
from ..notices import Notices
from ..wording import counted
from .support import (
    Deinterlace,
    DeinterlaceOption,
    OverwriteOption,
    StrictOption,
    bars,
    console,
    reading,
    reported,
    show_summary,
)

if TYPE_CHECKING:
    from ..semantics.describe import ShotDescriber
    from ..semantics.table.description import ShotDescription


def describe(
    source: Annotated[Path, typer.Argument(help="Film file, or a folder with an image sequence.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON instead of text.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="File for the table, .json or .csv, for restore --shots-table.")
    ] = None,
    clip: Annotated[
        Path | None, typer.Option(help="Folder of a CLIP model, for tags, era and better key frames.")
    ] = None,
    captioner: Annotated[Path | None, typer.Option(help="Folder of a captioner: BLIP or Florence-2.")] = None,
    repair: Annotated[
        bool, typer.Option(help="Find and repair damage before looking; slower, but damage is not described.")
    ] = True,
    template: Annotated[
        str, typer.Option(help="Form of the prompts: plain, 'DiffBIR v2', 'DiffBIR v2.1', PASD or SeeSR.")
    ] = "plain",
    words: Annotated[
        Path | None, typer.Option(help="Word list for the tags, one per line; else one for old films.")
    ] = None,
    key_frames: Annotated[int, typer.Option(min=1, help="Most key frames of a shot.")] = 4,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="How sure an era must be; below it is unknown.")
    ] = 0.5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    deinterlace: DeinterlaceOption = Deinterlace.AUTO,
    overwrite: OverwriteOption = False,
    strict: StrictOption = False,
) -> None:
    """Say what every shot of a film shows: key frames, caption, tags, era and prompts.

    Models are read from local folders only; without any there are key frames, and whether the film has colour. Era and
    medium label the table and choose LoRAs; they change no setting of the restoration.
    """
    from ..reel.describe import describe_film
    from ..reel.restore import ReelSettings
    from ..semantics.table.table_files import check_table_path, write_table

    with reported():
        if out is not None:
            check_table_path(out, overwrite=overwrite)
        if words is not None and clip is None:
            raise SettingsError("--words: give --clip FOLDER too, the model that compares pictures with words")
        describer = _describer(clip, captioner, template, words, key_frames, confidence, device)
        notices = Notices()
        with bars() as progress:
            table = describe_film(
                source,
                describer,
                repair=ReelSettings(strict=strict) if repair else None,
                read=reading(deinterlace, None),
                progress=progress,
                notices=notices,
            )
        show_summary(notices)
        if out is not None:
            write_table(table, out)
            console.print(f"{out}: {counted(len(table), 'shot')}", highlight=False)
        if as_json:
            typer.echo(table.to_json(), nl=False)
        elif out is None:
            for number, described in enumerate(table):
                typer.echo(_as_text(number, described))


def _describer(
    clip: Path | None,
    captioner: Path | None,
    template: str,
    words: Path | None,
    key_frames: int,
    confidence: float,
    device: str,
) -> "ShotDescriber":
    from ..machine.devices import chosen_device
    from ..semantics.captioners.registry import open_captioner
    from ..semantics.describe import DescribeSettings, ShotDescriber
    from ..semantics.recognition.clip import open_clip
    from ..semantics.recognition.era import EraSettings
    from ..semantics.recognition.vocabulary import read_vocabulary

    settings = DescribeSettings(template=template, era=EraSettings(least=confidence))
    settings = replace(settings, key_frames=replace(settings.key_frames, most=key_frames))
    if words is not None:
        settings = replace(settings, words=read_vocabulary(words))
    target = str(chosen_device(device))
    model = None if clip is None else open_clip(clip, target)
    return ShotDescriber(
        encoder=None if model is None else model.frames,
        text_encoder=model.texts if model is not None and model.reads_text else None,
        captioner=None if captioner is None else open_captioner(captioner, target),
        settings=settings,
    )


def _as_text(number: int, described: "ShotDescription") -> str:
    keys = ", ".join(map(str, described.key_frames)) or "none"
    lines = [f"{number:4d}  {described.first:7d} – {described.last - 1:d}  key frames {keys}"]
    lines += [described.caption] if described.caption else []
    lines += ["tags: " + ", ".join(described.tags)] if described.tags else []
    kinds = ("era", "medium", "sound", "colour")
    said = [
        f"{kind}: {getattr(described, kind)} ({getattr(described, f'{kind}_confidence'):.0%})"
        for kind in kinds
        if getattr(described, f"{kind}_confidence") > 0
    ]
    lines += [", ".join(said)] if said else []
    lines += [f"{name}: {text}" for name, text in (("prompt", described.prompt), ("not", described.negative)) if text]
    return "\n      ".join(lines)
