"""The plan of stages over frames in memory, without ComfyUI: a whole batch is cut at its shots and run shot by shot."""

from .changes import average_frames as average_frames
from .changes import pre_restore_frames as pre_restore_frames
from .changes import remove_flicker as remove_flicker
from .changes import stabilise as stabilise
from .damage import DamageMasks as DamageMasks
from .damage import DamageProbability as DamageProbability
from .damage import damage_probability as damage_probability
from .damage import detect_damage as detect_damage
from .damage import find_damage as find_damage
from .damage import look_for_damage as look_for_damage
from .overlay import overlay as overlay
from .repair import repair_damage as repair_damage
from .repair import restore_frames as restore_frames
from .shots import detect_shots_in as detect_shots_in
