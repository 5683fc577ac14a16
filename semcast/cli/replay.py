"""`semcast replay`: the receiver alone, on what it was once sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from receiver.record import find_record, replay
from semcast.cli.video_file import VideoFile, require_folders, write_arrays
from semcast.errors import InputError


def replay_record(record: Path, video: Path, frames_out: Path | None) -> int:
    """Writes the frames a record gives; returns how many. Raises InputError for a bad record."""
    require_folders(video, frames_out)
    setup, frames = replay(find_record(record))
    kept = []
    count = 0
    with VideoFile(video, width=setup.width, height=setup.height, fps=setup.fps) as file:
        for rendered in frames:
            file.add(rendered.rgb)
            count += 1
            if frames_out:
                kept.append(rendered.rgb)
    if not count:
        raise InputError(f"'{record}' holds no frame: record it again.")
    if frames_out:
        write_arrays(frames_out, received=np.stack(kept))
    Console().print(f"{count} frames of scheme {setup.scheme} replayed to {video}")
    return count
