"""Telling what a checkpoint is from the names and shapes of its tensors alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from ....machine.companions import importing
from ...controls.reading import FORMATS
from .expected import expected_tensors, text_width
from .published_files import PUBLISHED, PublishedFile
from .signatures import OURS, SIGNATURES
from .unet_keys import Shape

UNKNOWN = "unknown"

# Channels that go into a text-to-image UNet.
_LATENT = 4

# Parts whose text attention says the family, the one that says it best first.
_TELLING = ("unet", "controlnet", "control", "dloral_unet", "coser_branch")
_FAMILIES = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    1280: "the refiner of Stable Diffusion XL",
    2048: "Stable Diffusion XL",
}
_SYSTEM_FAMILIES = {
    "pasd": "Stable Diffusion 1.x",
    "seesr": "Stable Diffusion 2.x",
    "stablesr": "Stable Diffusion 2.x",
    "coser": "Stable Diffusion 2.x",
    "diffbir": "Stable Diffusion 2.x",
    "osediff": "Stable Diffusion 2.x",
    "pisasr": "Stable Diffusion 2.x",
    "s3diff": "Stable Diffusion 2.x",
    "hypir": "Stable Diffusion 2.x",
    "dloral": "Stable Diffusion 2.x",
    "motion": "Stable Diffusion 1.x",
}
"""Families of parts that do not show it themselves."""

# Ends of the keys of a LoRA that lie at the text's side of a cross-attention.
_LORA_TEXT = ("attn2_to_k", "attn2.to_k")
_LORA_DOWN = ("lora_down.weight", "lora_A.weight", "down.weight", "lora_A.default.weight")


@dataclass(frozen=True, kw_only=True)
class FoundPart:
    """One part of a checkpoint.

    Attributes:
        part: Short name.
        name: What it is, for people.
        prefix: What stands before its tensors in the file.
        tensors: How many the file has of it.
        checked: Whether an exact list of its tensors was there to compare with.
        missing: Tensors of the list that the file lacks, with the prefix.
        unexpected: Tensors of the part that the list lacks, with the prefix.
        other_shape: Tensors of another shape than in the list, with both.
    """

    part: str
    name: str
    prefix: str
    tensors: int
    checked: bool = False
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    other_shape: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a checkpoint is.

    Attributes:
        name: What it is, for people.
        kind: In one or two words; "unknown" where nothing told.
        family: Base model that it is, or is made for; None where that cannot be told or does not matter.
        prediction: What a base model predicts, "eps" or "v"; None where it is not known.
        parts: Its parts.
        unknown: Tensors that belong to no part.
        needs: What is needed beside it.
        licence: Of its weights; None where it is the model's own or not known.
        source: Where it is published; None where that is not known.
        note: A further sentence for the user.
        tensors: How many tensors the file has.
    """

    name: str
    kind: str
    family: str | None
    prediction: str | None = None
    parts: tuple[FoundPart, ...] = ()
    unknown: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    licence: str | None = None
    source: str | None = None
    note: str | None = None
    tensors: int = 0

    @property
    def missing(self) -> tuple[str, ...]:
        """Tensors that its parts should have."""
        return tuple(key for part in self.parts for key in part.missing)

    @property
    def unexpected(self) -> tuple[str, ...]:
        """Tensors that its parts should not have, and those that belong to none."""
        return (*(key for part in self.parts for key in part.unexpected), *self.unknown)

    @property
    def complete(self) -> bool:
        """Whether every part is as it was published and nothing is left over."""
        wrong = any(part.other_shape for part in self.parts)
        return self.kind != UNKNOWN and not (self.missing or self.unexpected or wrong)


def identify(shapes: Mapping[str, Shape], metadata: Mapping[str, str] | None = None) -> Identity:
    """Tell what a checkpoint is.

    Args:
        shapes: Shape of every tensor by its key; those of nested tables with the names of the tables before, joined
            with dots.
        metadata: What a safetensors file says of itself.

    Returns:
        What it is; of kind "unknown" where no part of anything known is in it.
    """
    found: tuple[FoundPart, ...]
    left: dict[str, Shape] = {}
    if ours := next((key for key in OURS if key in (metadata or {})), None):
        part, name = OURS[ours]
        found = (FoundPart(part=part, name=name, prefix="", tensors=len(shapes)),)
    else:
        found, left = _parts(shapes)
    published = _published(found)
    system = None if published is None else next((each for each in FORMATS if each.system == published.system), None)
    family = _family(found, shapes)
    if published is None:
        return _image_model(shapes) or Identity(
            name=f"nothing that is known; it holds {_few(shapes)}",
            kind=UNKNOWN,
            family=None,
            parts=found,
            unknown=tuple(sorted(left)),
            tensors=len(shapes),
        )
    return Identity(
        name=published.name,
        kind=published.kind,
        family=family,
        parts=found,
        unknown=tuple(sorted(left)),
        needs=published.needs,
        licence=published.licence if system is None else system.licence,
        source=None if system is None else system.source,
        note=_note(published, found, shapes),
        tensors=len(shapes),
    )


def _parts(shapes: Mapping[str, Shape]) -> tuple[tuple[FoundPart, ...], dict[str, Shape]]:
    """Return the parts of a file, and what belongs to none."""
    left, found = dict(shapes), []
    for signature in SIGNATURES:
        for prefix in signature.prefixes_in(left):
            own = signature.own_in(prefix, left)
            for key in own:
                del left[f"{prefix}{key}"]
            found.append(_compared(signature.part, signature.name, prefix, own))
    return tuple(found), left


def _compared(part: str, name: str, prefix: str, own: Mapping[str, Shape]) -> FoundPart:
    wanted = expected_tensors(part, own)
    if wanted is None:
        return FoundPart(part=part, name=name, prefix=prefix, tensors=len(own))
    return FoundPart(
        part=part,
        name=name,
        prefix=prefix,
        tensors=len(own),
        checked=True,
        missing=tuple(f"{prefix}{key}" for key in wanted if key not in own),
        unexpected=tuple(f"{prefix}{key}" for key in own if key not in wanted),
        other_shape=tuple(
            f"{prefix}{key} {own[key]} instead of {shape}"
            for key, shape in wanted.items()
            if key in own and own[key] != shape
        ),
    )


def _published(found: tuple[FoundPart, ...]) -> PublishedFile | None:
    parts = {part.part for part in found}
    return next((file for file in PUBLISHED if file.fits(parts)), None)


def _family(found: tuple[FoundPart, ...], shapes: Mapping[str, Shape]) -> str | None:
    for telling in _TELLING:
        for part in found:
            if telling in part.part:
                own = {key[len(part.prefix) :]: shape for key, shape in shapes.items() if key.startswith(part.prefix)}
                if (width := text_width(own)) is not None:
                    return _FAMILIES.get(width, f"unknown, with text of {width} channels")
    if any(part.part.startswith("lora_") for part in found):
        return _lora_family(shapes)
    return next((_SYSTEM_FAMILIES[name] for part in found for name in _SYSTEM_FAMILIES if name in part.part), None)


def _lora_family(shapes: Mapping[str, Shape]) -> str | None:
    for key, shape in shapes.items():
        if key.endswith(_LORA_DOWN) and any(word in key for word in _LORA_TEXT):
            return _FAMILIES.get(shape[-1])
    return None


def _note(published: PublishedFile, found: tuple[FoundPart, ...], shapes: Mapping[str, Shape]) -> str | None:
    for part in found if published.kind == "base model" else ():
        for first in ("input_blocks.0.0.weight", "conv_in.weight"):
            shape = shapes.get(f"{part.prefix}{first}")
            if part.part.startswith("unet_") and shape is not None and shape[1] != _LATENT:
                return f"an inpainting or editing model, whose UNet takes {shape[1]} channels; not supported here"
    return published.note


def _image_model(shapes: Mapping[str, Shape]) -> Identity | None:
    """Ask spandrel, which the host reads image models with, whether it knows the names."""
    with importing("spandrel", "spandrel"):
        from spandrel import MAIN_REGISTRY

    names: dict[str, object] = dict(shapes)
    for known in MAIN_REGISTRY.architectures("detection"):
        if known.detect(names):
            return Identity(
                name=f"image model of the architecture {known.architecture.name}",
                kind="image model",
                family=None,
                parts=(FoundPart(part="image_model", name=known.architecture.name, prefix="", tensors=len(shapes)),),
                note="load it with Load Upscale Model",
                tensors=len(shapes),
            )
    return None


def _few(shapes: Mapping[str, Shape], most: int = 3) -> str:
    keys = sorted(shapes)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "") or "no tensors"
