"""Models of transformers from folders on this computer: looked at first, then loaded, and nothing in them is run.

A folder is refused before transformers sees it when something is missing, when its weights are pickles only, when it is
of another class, or when it asks for code of its own. Nothing is ever downloaded.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import VLDMError
from ...files.weights import WeightFileError, read_header, some
from ...machine.companions import importing

logger = logging.getLogger(__name__)

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
# Entries of a configuration by which transformers would load code, adapters or packages from elsewhere.
_FOREIGN = ("auto_map", "custom_pipelines", "quantization_config", "compression_config")
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
_TOKENIZERS = ("Bert", "Bart", "Roberta", "GPT2", "CLIP", "PreTrained", "TokenizersBackend", "Florence2")
_LARGEST_JSON = 64 << 20


class ModelFolderError(VLDMError):
    """The folder of a model is missing, incomplete, damaged, of another kind, or not safe to use."""


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What a folder is to hold, and where to get it.

    Attributes:
        name: For messages, for example "BLIP".
        repository: On Hugging Face, for example "Salesforce/blip-image-captioning-base".
        architectures: Classes of transformers, as config.json names them.
        tokenizer: Whether the folder needs a tokenizer.
        pictures: Whether it needs to say how pictures are prepared.
    """

    name: str
    repository: str
    architectures: tuple[str, ...]
    tokenizer: bool = True
    pictures: bool = True

    def refusal(self, folder: Path, what: str) -> ModelFolderError:
        """Return an error that says what is wrong and where to get the model."""
        return ModelFolderError(
            f"{self.name} cannot be used from {folder}: {what}; get it from https://huggingface.co/{self.repository} "
            "(config, tokenizer and .safetensors files) and put the files into this folder"
        )


def read_architectures(folder: Path) -> tuple[str, ...]:
    """Return the classes that the config.json of a folder names.

    Raises:
        ModelFolderError: There is no such folder, or its config.json is missing or unreadable.
    """
    if not folder.is_dir():
        raise ModelFolderError(f"there is no folder {folder}; give the folder that holds the model's config.json")
    try:
        config = _read_json(folder / "config.json")
    except ValueError as error:
        raise ModelFolderError(
            f"{folder} is not the folder of a model: {error}; give one in the layout of transformers"
        ) from error
    names = config.get("architectures")
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def check_folder(folder: Path, source: ModelSource) -> dict[str, Any]:
    """Check a model's folder without running anything in it.

    Returns:
        Its config.json.

    Raises:
        ModelFolderError: The folder is not one of this model, or not safe to use.
    """
    if not folder.is_dir():
        raise source.refusal(folder, "there is no such folder")
    if "config.json" not in {path.name for path in folder.iterdir()}:
        raise source.refusal(folder, "config.json is missing")
    for path in sorted(folder.glob("*.json")):
        # The vocabulary and the merges are data alone, and large.
        if path.name not in ("tokenizer.json", "vocab.json"):
            _check_settings(folder, source, path)
    if code := sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py")):
        raise source.refusal(folder, f"it comes with code ({some(code)}), which is never run; use a folder without any")
    if (folder / "adapter_config.json").exists():
        raise source.refusal(folder, "it is an adapter for another model")
    config = _read_json(folder / "config.json")
    names = read_architectures(folder)
    if not set(names) & set(source.architectures):
        raise source.refusal(
            folder, f"it holds {' and '.join(names) or 'no known class'}, not {' or '.join(source.architectures)}"
        )
    _check_weights(folder, source)
    here = {path.name for path in folder.iterdir()}
    if source.tokenizer and not here & {"tokenizer.json", "vocab.json", "vocab.txt"}:
        raise source.refusal(folder, "its tokenizer is missing (tokenizer.json)")
    if source.pictures and not here & {"preprocessor_config.json", "processor_config.json"}:
        raise source.refusal(folder, "preprocessor_config.json is missing")
    return config


def load_model(folder: Path, source: ModelSource, class_name: str) -> Any:
    """Load a model in float32, ready to be used; the folder must have been checked.

    Args:
        folder: Where it lies.
        source: What it is.
        class_name: Class of transformers.

    Raises:
        ModelFolderError: The files do not make such a model.
        VLDMError: transformers cannot be imported or has no such class.
    """
    kind = transformers_class(class_name)
    model, info = _from_folder(folder, source, kind, use_safetensors=True, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise source.refusal(folder, f"its weights lack {some(missing)}")
    return model.float().eval().requires_grad_(False)


def load_processor(folder: Path, source: ModelSource, class_name: str) -> Any:
    """Load a tokenizer or processor; the folder must have been checked.

    Raises:
        ModelFolderError: The files do not make one.
        VLDMError: transformers cannot be imported or has no such class.
    """
    return _from_folder(folder, source, transformers_class(class_name))


def transformers_class(name: str) -> Any:
    """Return a class of transformers.

    Raises:
        VLDMError: transformers cannot be imported or has no such class.
    """
    with importing("transformers", "transformers"):
        import transformers

        if name not in dir(transformers):
            raise VLDMError(
                f"transformers {transformers.__version__} has no {name}; bring it up to date with: "
                "pip install -U transformers"
            )
        return getattr(transformers, name)


def _from_folder(folder: Path, source: ModelSource, kind: Any, **more: Any) -> Any:
    try:
        return kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **more)
    except Exception as error:  # transformers raises whatever an unfit file makes it raise
        message = " ".join(str(error).split())[:300]
        raise source.refusal(folder, f"transformers cannot read it ({type(error).__name__}: {message})") from error


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: It is missing, not JSON, or not an object.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError(f"{path.name} is too large for a settings file")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path.name} is missing or cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is damaged ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is damaged (it holds no table)")
    return found


def _check_settings(folder: Path, source: ModelSource, path: Path) -> None:
    """Check that a settings file can be read and asks for nothing from elsewhere."""
    try:
        settings = _read_json(path)
    except ValueError as error:
        raise source.refusal(folder, str(error)) from error
    for key, value in _entries(settings):
        if key in _FOREIGN:
            raise source.refusal(folder, f"{path.name} asks for code from elsewhere ({key}), which is never run")
        if key in _ATTENTION and value not in (None, "eager", "sdpa"):
            raise source.refusal(folder, f"{path.name} asks for the attention {value!r} from elsewhere")
        if key == "tokenizer_class" and value is not None and not str(value).startswith(_TOKENIZERS):
            raise source.refusal(
                folder, f"{path.name} asks for the tokenizer {value!r}, which this model does not have"
            )


def _entries(values: Any) -> Iterator[tuple[str, Any]]:
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_weights(folder: Path, source: ModelSource) -> None:
    for name in _weight_files(folder, source):
        path = folder / name
        if not path.is_file():
            raise source.refusal(folder, f"{name} is missing")
        try:
            read_header(path)
        except WeightFileError as error:
            raise source.refusal(folder, f"{name} is damaged or cut short ({error.__cause__})") from error


def _weight_files(folder: Path, source: ModelSource) -> Sequence[str]:
    if (folder / _INDEX).exists():
        try:
            table = _read_json(folder / _INDEX).get("weight_map")
        except ValueError as error:
            raise source.refusal(folder, str(error)) from error
        names = sorted({*table.values()}) if isinstance(table, dict) and table else []
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise source.refusal(folder, f"{_INDEX} is damaged")
        if wrong := [name for name in names if not name.endswith(".safetensors")]:
            raise source.refusal(folder, f"{_INDEX} names {wrong[0]}, which is not a .safetensors file")
        return names
    if not (folder / _WEIGHTS).exists():
        if pickles := sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _PICKLES):
            raise source.refusal(
                folder,
                f"its weights are pickles only ({some(pickles)}), which can run code and are refused; "
                f"{_WEIGHTS} is needed",
            )
        raise source.refusal(folder, f"its weights are missing ({_WEIGHTS})")
    return [_WEIGHTS]
