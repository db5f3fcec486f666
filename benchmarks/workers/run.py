"""Restores one film with some workers, in a process of its own that is held to some cores."""

import hashlib
import json
import os
import sys
from pathlib import Path


def main(source: str, target: str, workers: str, cores: str, quality: str) -> None:
    """Restore a film and say how long it took and what came out, as JSON on the last line.

    Args:
        source: The film.
        target: File to write.
        workers: As the command line takes them.
        cores: How many, of those that this process may use.
        quality: Level of effort.
    """
    # Before libraries count the cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    from vldm_core.machine.workers import use_threads
    from vldm_core.reel.restore import ReelSettings
    from vldm_core.reel.resumable.run import RunSettings, restore_reel
    from vldm_core.reel.resumable.sharing.share import workers_from
    from vldm_core.video.reading.reader import open_film

    use_threads(1)
    settings = ReelSettings.of_quality(quality)  # type: ignore[arg-type]
    report = restore_reel(source, target, settings, run=RunSettings(workers=workers_from(workers)))
    digest = hashlib.sha256()
    with open_film(Path(target), deinterlace="off") as film:
        for frame in film:
            digest.update(frame.image.data)
    facts = {"seconds": report.seconds, "frames": report.frames, "shots": len(report.shots), "film": digest.hexdigest()}
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:6])
