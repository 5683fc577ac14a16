"""Where pictures come from: files, folders of pictures, bundled samples, live cameras.

Everything leaves this package as `SourceFrame`s on the session's grid of 1/fps, at the session's
size, as upright 8-bit SDR RGB: rotation, pixel shape, interlacing, colour matrix, range, HDR,
alpha and a variable frame rate are all dealt with here and nowhere else.
"""

from transmitter.sources.clips import probe_clip, read_clip
from transmitter.sources.frames import ClipInfo, SourceFrame, frame_pts_us
from transmitter.sources.live import LiveGrid
from transmitter.sources.locate import caption_beside, locate_clip
from transmitter.sources.rendering import render_frame
from transmitter.sources.size import fit_to_size, parse_size

__all__ = [
    "ClipInfo",
    "LiveGrid",
    "SourceFrame",
    "caption_beside",
    "fit_to_size",
    "frame_pts_us",
    "locate_clip",
    "parse_size",
    "probe_clip",
    "read_clip",
    "render_frame",
]
