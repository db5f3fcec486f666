"""The nodes: one file per stage, each a schema and a thin adapter over vldm_core."""

from comfy_api.latest import ComfyExtension, io

from .compare.compare import Compare
from .decode.decode import DecodeVideo, FuseRestoration, MatchColour, Regrain
from .film.detect_damage import DetectDamage
from .film.film import DetectShots, RemoveFlicker, RepairDamage, Stabilise
from .film.refine_mask import RefineMask
from .film.simulate_damage import SimulateDamage
from .host.models import register_folders
from .prerestore.image_models import LoadStage1, RestoreWithImageModel
from .prerestore.prerestore import LoadPreRestorer, PreRestore
from .prior.fit import FitForPrior, UndoFit
from .prior.patches import LongVideoWindows, RestorationGuidance, VideoNoise
from .prior.sampler import RestorationSampler, RestorationSettingsNode
from .prior.temporal import ApplyTemporalLayers, ShotLoras
from .reel.restore_reel import RestoreReel
from .semantics.key_frames import CaptionShots, KeyFrames
from .semantics.shot_conditioning import ShotConditioning
from .semantics.shot_table import ShotTableNode
from .semantics.zero_shot import Era, TagShots

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
