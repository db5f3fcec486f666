"""Libraries of others are imported beside any build of torchvision, and say why where they cannot be."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from vldm_core.errors import SettingsError, VLDMError
from vldm_core.machine.companions import first_cause, importing

from ..conftest import ROOT
from ..reel.conftest import write_film

CORE = sorted((ROOT / "vldm_core").rglob("*.py"))
COMPANIONS = {"diffusers", "transformers", "spandrel", "peft", "accelerate"}
# The class that needs diffusers to exist; `vldm_core` imports it inside `importing`.
WHOLE_MODULES = {ROOT / "vldm_core" / "prior" / "pipeline.py"}
# Takes away what an environment may have for torchvision, so that the package has to do it.
ALONE = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != '_BeforeTorchvision']\n"


def broken_torchvision(folder: Path, *, loads: bool = False) -> Path:
    """Make a torchvision that behaves like one made for another build of torch."""
    package = folder / "torchvision"
    package.mkdir(parents=True)
    (package / "_C.so").write_bytes(b"not a library for this machine")
    lines = ["import torch", '__version__ = "0.28.0"']
    if not loads:
        lines += ['@torch.library.register_fake("torchvision::nms")', "def nms(dets, scores, iou): return dets"]
    (package / "__init__.py").write_text("\n".join(lines) + "\n")
    return folder


def run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    # In front of the installed packages, as a script's own folder is, and for processes of this one too.
    code = f"import sys; sys.path.insert(0, {str(path)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)


def test_a_torchvision_of_another_build_is_imported(tmp_path):
    broken_torchvision(tmp_path)
    result = run(ALONE + "import torchvision", tmp_path)
    assert "operator torchvision::nms does not exist" in result.stderr
    code = "from vldm_core.machine.companions import importing\n"
    code += "with importing('it', 'it'):\n    import torchvision\nprint('fine')"
    result = run(ALONE + code, tmp_path)
    assert result.stdout == "fine\n", result.stderr


def test_a_torchvision_that_loads_is_left_alone(tmp_path):
    broken_torchvision(tmp_path, loads=True)
    code = "import torch, torchvision\n"
    code += "from vldm_core.machine.vision_operators import declare_missing_operators as declare\n"
    result = run(ALONE + code + "print(declare(), hasattr(torch.ops.torchvision, 'nms'))", tmp_path)
    assert result.stdout == "False False\n", result.stderr


def test_an_environment_without_torchvision_is_left_alone():
    code = (
        "import importlib.machinery, torch\nfrom vldm_core.machine.vision_operators import declare_missing_operators\n"
        "importlib.machinery.PathFinder.find_spec = lambda *_: None\n"
        "print(declare_missing_operators(), hasattr(torch.ops.torchvision, 'nms'))"
    )
    result = subprocess.run([sys.executable, "-c", ALONE + code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert result.stdout == "False False\n", result.stderr


def test_the_environment_lets_torchvision_be_imported_by_anyone(tmp_path):
    """As `make env` leaves it where no build of torchvision fits."""
    spec = importlib.util.spec_from_file_location("setup_environment", ROOT / "scripts" / "setup_environment.py")
    setup = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        spec.loader.exec_module(setup)
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    packages = broken_torchvision(tmp_path / "packages")
    setup.watch(packages)
    result = run(
        ALONE + f"import site; site.addsitedir({str(packages)!r})\nimport torchvision; print('fine')", packages
    )
    assert result.stdout == "fine\n", result.stderr


def command_line(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, without anything that tests or the environment prepare."""
    told = [str(argument) for argument in ("vldm_core", *arguments)]
    code = f"{ALONE}sys.argv = {told!r}\nfrom vldm_core.cli.app import main\nmain()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=ROOT)


def test_the_prior_runs_in_this_environment(tmp_path):
    from ..prior.tiny_pipeline import tiny_pipeline

    film = write_film(tmp_path / "film.mkv", 3, audio=False)
    tiny_pipeline().save_pretrained(tmp_path / "model")
    options = ["--steps", 2, "--strength", 0.5, "--short-side", 64, "--device", "cpu", "--no-dirt", "--no-lines"]
    out = tmp_path / "out.mkv"
    result = command_line("restore", film, out, "--prior", tmp_path / "model", "--no-average", *options)
    assert result.returncode == 0 and out.is_file(), result.stderr


def test_describe_runs_in_this_environment(tmp_path):
    from ..semantics.tiny_models import save_blip, save_clip

    film = write_film(tmp_path / "film.mkv", 3, audio=False)
    models = ["--clip", save_clip(tmp_path / "clip"), "--captioner", save_blip(tmp_path / "blip")]
    result = command_line("describe", film, "--no-repair", "--device", "cpu", *models)
    assert result.returncode == 0 and "tags: " in result.stdout, result.stderr


def test_the_autoencoder_of_training_is_read_in_this_environment(tmp_path):
    from ..prior.tiny_pipeline import tiny_vae

    tiny_vae().save_pretrained(tmp_path / "vae")
    code = (
        f"from pathlib import Path\nfrom vldm_core.cli.train import networks\n"
        f"print(type(networks._autoencoder(Path({str(tmp_path / 'vae')!r}))).__name__)"
    )
    result = subprocess.run([sys.executable, "-c", ALONE + code], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert result.stdout == "AutoencoderKL\n", result.stderr


def test_spandrel_is_imported_in_this_environment():
    result = subprocess.run([sys.executable, "-c", "import spandrel"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_the_first_cause_is_told():
    hidden = RuntimeError("operator torchvision::nms\ndoes not exist")
    match = r"\(RuntimeError: operator torchvision::nms does not exist\).*-U transformers"
    with pytest.raises(VLDMError, match=match), importing("transformers", "transformers"):  # noqa: PT012 - one error made of another
        try:
            raise hidden
        except RuntimeError as error:
            raise ModuleNotFoundError("Could not import module 'CLIPModel'") from error
    assert first_cause(hidden) is hidden
    with pytest.raises(SettingsError, match="ours"), importing("it", "it"):
        raise SettingsError("ours")


def test_training_without_its_companions_says_what_to_install(tmp_path):
    """In one process for all: most of the time goes into importing torch."""
    code = f"""
import sys
from pathlib import Path
from typer.testing import CliRunner
from vldm_core.cli.app import app
for missing in ("tensorboard", "accelerate"):
    sys.modules[missing] = None
    for network in ("dirt-detector", "line-detector", "prerestore"):
        cache = Path({str(tmp_path / "cache")!r})
        told = ["--data", {str(tmp_path)!r}, "--cache", str(cache), "--out", str(cache / "out.safetensors")]
        result = CliRunner().invoke(app, ["train", network, *told])
        said = " ".join(result.output.split())
        wanted = f"{{missing}} cannot be imported" in said and "'vldm[train]'" in said
        assert result.exit_code == 1 and wanted and not cache.exists(), (network, missing, result, said)
    del sys.modules[missing]
print("fine")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert result.stdout == "fine\n", result.stderr


def companions_of(node: ast.AST, guarded: bool = False) -> list[str]:
    """Return imports of other projects' libraries that stand outside `with importing(…)`."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return []
    if isinstance(node, ast.With):
        guarded = guarded or any(ast.unparse(item.context_expr).startswith("importing(") for item in node.items)
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module or ""]
    found = [] if guarded else [name for name in names if name.split(".")[0] in COMPANIONS]
    return found + [name for child in ast.iter_child_nodes(node) for name in companions_of(child, guarded)]


def test_libraries_of_others_are_imported_in_the_one_way():
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in CORE
        if path not in WHOLE_MODULES and (found := companions_of(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert not wrong
    assert companions_of(ast.parse("def f():\n    import diffusers.models")) == ["diffusers.models"]
