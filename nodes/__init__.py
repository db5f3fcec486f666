"""The nodes: one file per stage, each a schema and a thin adapter over vldm_core."""

from comfy_api.latest import ComfyExtension, io

from .compare.compare import Compare
from .decode.decode_video import DecodeVideo
from .decode.decode_with_feature_wrapping import DecodeWithFeatureWrapping
from .decode.fuse_restoration import FuseRestoration
from .decode.match_colour import MatchColour
from .decode.regrain import Regrain
from .decode.trained_fusion import TrainedFusionNode
from .film.detect_damage import DetectDamage
from .film.detect_shots import DetectShots
from .film.reduce_grain import ReduceGrain
from .film.refine_mask import RefineMask
from .film.remove_flicker import RemoveFlickerNode
from .film.repair_damage import RepairDamage
from .film.simulate_damage import SimulateDamage
from .film.stabilise import StabiliseNode
from .host.models import register_folders
from .prerestore.load_prerestorer import LoadPreRestorer
from .prerestore.load_stage1 import LoadStage1
from .prerestore.pre_restore import PreRestoreNode
from .prerestore.restore_with_image_model import RestoreWithImageModel
from .prior.controls.apply_restoration_control import ApplyRestorationControl
from .prior.controls.load_restoration_control import LoadRestorationControl
from .prior.fit import FitForPrior, UndoFit
from .prior.long_video_windows import LongVideoWindows
from .prior.onestep.load_one_step import LoadOneStepRestorer
from .prior.onestep.restore_in_one_step import RestoreInOneStep
from .prior.restoration_guidance import RestorationGuidanceNode
from .prior.restoration_sampler import RestorationSampler
from .prior.restoration_settings import RestorationSettingsNode
from .prior.shot_loras import ShotLoras
from .prior.temporal_layers import ApplyTemporalLayers
from .prior.video_noise import VideoNoise
from .reel.box_fix import BoxFixNode
from .reel.film_settings import FilmSettingsNode
from .reel.reel_prior import ReelPriorNode
from .reel.reel_prior_in_one_step import ReelPriorInOneStep
from .reel.restore_reel import RestoreReel
from .semantics.caption_shots import CaptionShots
from .semantics.choose_key_frames import KeyFrames
from .semantics.era import Era
from .semantics.shot_conditioning import ShotConditioning
from .semantics.shot_table import ShotTableNode
from .semantics.tag_shots import TagShots

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
            RemoveFlickerNode,
            ReduceGrain,
            LoadPreRestorer,
            PreRestoreNode,
            LoadStage1,
            RestoreWithImageModel,
            StabiliseNode,
            Compare,
            FilmSettingsNode,
            BoxFixNode,
            ReelPriorNode,
            ReelPriorInOneStep,
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
            LoadRestorationControl,
            ApplyRestorationControl,
            LoadOneStepRestorer,
            RestoreInOneStep,
            LongVideoWindows,
            VideoNoise,
            RestorationGuidanceNode,
            RestorationSampler,
            RestorationSettingsNode,
            DecodeVideo,
            DecodeWithFeatureWrapping,
            FuseRestoration,
            TrainedFusionNode,
            MatchColour,
            Regrain,
        ]
