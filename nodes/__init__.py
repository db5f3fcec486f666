"""The nodes: one file per stage, each a schema and a thin adapter over vldm_core."""

from comfy_api.latest import ComfyExtension, io

from .decode import DecodeVideo, FuseRestoration, MatchColour, Regrain
from .detect import DetectDamage
from .evaluate import Compare
from .film import DetectShots, RemoveFlicker, RepairDamage, Stabilise
from .host_models import register_folders
from .image_models import LoadStage1, RestoreWithImageModel
from .masks import RefineMask
from .patches import LongVideoWindows, RestorationGuidance, VideoNoise
from .prerestore import LoadPreRestorer, PreRestore
from .prior import FitForPrior, UndoFit
from .reel import RestoreReel
from .sampler import RestorationSampler, RestorationSettingsNode
from .semantics import CaptionShots, KeyFrames
from .shot_conditioning import ShotConditioning
from .shot_table import ShotTableNode
from .simulate import SimulateDamage
from .temporal import ApplyTemporalLayers, ShotLoras
from .zero_shot import Era, TagShots

# Before the host asks the nodes for their inputs, which list the files in these folders.
register_folders()


class VLDMExtension(ComfyExtension):
    """Tells ComfyUI which nodes there are."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the nodes in the order of a restoration."""
        return [
            DetectShots,
            DetectDamage,
            RefineMask,
            RepairDamage,
            RemoveFlicker,
            LoadPreRestorer,
            PreRestore,
            LoadStage1,
            RestoreWithImageModel,
            Stabilise,
            Compare,
            RestoreReel,
            SimulateDamage,
            FitForPrior,
            UndoFit,
            KeyFrames,
            CaptionShots,
            TagShots,
            Era,
            ShotTableNode,
            ShotConditioning,
            ApplyTemporalLayers,
            ShotLoras,
            LongVideoWindows,
            VideoNoise,
            RestorationGuidance,
            RestorationSampler,
            RestorationSettingsNode,
            DecodeVideo,
            FuseRestoration,
            MatchColour,
            Regrain,
        ]
