"""A batch cut into its shots, and a plan of stages run over all of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from ...containment import Faults
from ...errors import SettingsError
from ...notices import Notices
from ...progress import Progress, Pulse, silent
from ...video.frames import check_frames
from ...video.shots import Shot, ShotSettings, covering_shots
from ..analysis import ShotAnalysis, analyse_shot, link_shots
from ..cuts import find_cuts
from ..plan import StagePlan
from ..stage import ShotContext
from ..stage_frame import StageFrame


def detect_shots_in(
    frames: Tensor,
    settings: ShotSettings | None = None,
    progress: Progress = silent,
    *,
    notices: Notices | None = None,
    strict: bool = False,
) -> tuple[Shot, ...]:
    """Cut a batch into shots.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        settings: How a cut is told from flicker, flashes and dirt.
        progress: Called once per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    check_frames(frames)
    return find_cuts(
        frames,
        settings or ShotSettings(),
        faults=Faults(notices, strict=strict),
        seen=lambda count: progress("detect shots", count, len(frames)),
    )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Frames in memory with what is known of them.

    Attributes:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        dirt: (T, H, W), marks of dirt that the frames bring along, or None.
        scratch: (T, H, W), marks of scratches likewise.
        protect: (T, H, W); above 0.5 nothing is marked.
        faults: What is done about frames that a stage cannot do.

    Raises:
        SettingsError: Frames, masks or shots do not fit each other.
    """

    frames: Tensor
    shots: Iterable[Shot] | None = None
    dirt: Tensor | None = None
    scratch: Tensor | None = None
    protect: Tensor | None = None
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        check_frames(self.frames)
        wanted = self.frames.shape[:1] + self.frames.shape[2:]
        for name in ("dirt", "scratch", "protect"):
            mask: Tensor | None = getattr(self, name)
            if mask is not None and mask.shape != wanted:
                raise SettingsError(
                    f"the {name} mask is {tuple(mask.shape)}, the frames need {tuple(wanted)}; "
                    "use a mask that was made from these frames"
                )
        # Looked at now, so that shots that do not fit are refused before the work.
        _ = self.spans

    @cached_property
    def spans(self) -> tuple[Shot, ...]:
        """The shots."""
        return covering_shots(self.shots, len(self.frames))

    def run(self, plan: StagePlan, pulse: Pulse, measuring: Pulse | None = None) -> Iterator[StageFrame[None]]:
        """Run a plan over all shots.

        Args:
            plan: The stages.
            pulse: Reports the frames that are through the stages.
            measuring: Reports the frames that are analysed; None gives signs of life of `pulse` alone.

        Yields:
            Every frame, in order.
        """
        plan.load()
        analyses = self._analysed(plan, pulse, measuring)
        for shot, analysis in zip(self.spans, analyses, strict=True):
            context = ShotContext(
                analysis=analysis,
                protect=None if self.protect is None else self.protect[shot.first : shot.last].cpu() > 0.5,
                beat=pulse.beat,
                faults=self.faults,
            )
            for frame in plan.run(self._stage_frames(shot), context):
                yield frame
                pulse.step(frame.image)

    def _analysed(self, plan: StagePlan, pulse: Pulse, measuring: Pulse | None) -> tuple[ShotAnalysis, ...]:
        height, width = self.frames.shape[-2:]
        if not plan.needs_first_pass:
            return tuple(ShotAnalysis.unmeasured(len(shot), height, width) for shot in self.spans)

        def counted(shot: Shot) -> Iterator[Tensor]:
            for frame in self.frames[shot.first : shot.last]:
                yield frame
                if measuring is None:
                    pulse.beat()
                else:
                    measuring.step()

        wanted = plan.analysis
        return link_shots(
            [
                analyse_shot(counted(shot), wanted, height, width, faults=self.faults, first=shot.first)
                for shot in self.spans
            ]
        )

    def _stage_frames(self, shot: Shot) -> Iterator[StageFrame[None]]:
        for t in range(shot.first, shot.last):
            yield StageFrame(
                image=self.frames[t],
                origin=None,
                number=t,
                dirt=None if self.dirt is None else self.dirt[t],
                scratch=None if self.scratch is None else self.scratch[t],
            )
