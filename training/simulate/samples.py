"""How the bundled samples are made: `python -m training.simulate.samples` renders them again.

For each recipe three files go to `semcast/samples/`: `NAME.mp4` (H.264, yuv420p, BT.601),
`NAME.txt` (the caption, one line) and `NAME_masks.npz` (`labels` uint8 [F, H, W], 0 background;
`objects` [K] names, label k at index k - 1). Takes about five minutes on two cores without a GPU.
"""

import argparse
import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from training.simulate.scene import SimulatedFrame, scene_info, simulate_scene
from training.simulate.seeds import is_reserved_for_samples

WIDTH, HEIGHT, FPS, SECONDS = 384, 384, 16, 8.0
CRF = 20
SHADOW_SIZE = 4096

SAMPLES_FOLDER = Path(__file__).resolve().parents[2] / "semcast" / "samples"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleRecipe:
    """The arguments of `simulate_scene` that make one sample."""

    name: str
    seed: int
    action: str
    setting: str
    move: str

    def __post_init__(self) -> None:
        if not is_reserved_for_samples(self.seed):
            raise ValueError(f"sample {self.name} must use a seed that training refuses")


RECIPES = (
    SampleRecipe("gripper", 7_000_101, "pick", "desk", "orbit"),
    SampleRecipe("tumble", 7_000_100, "fall", "playroom", "handheld"),
    SampleRecipe("kitchen-pan", 7_000_105, "roll", "kitchen", "pan"),
)


def write_video(path: Path, frames: list[SimulatedFrame], fps: int) -> None:
    """Encode the frames' pictures as H.264 in MP4, with the index first for the web."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames[0].labels.shape
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        stream.options = {"crf": str(CRF), "preset": "veryslow", "g": str(2 * fps)}
        # 6 is SMPTE 170M (BT.601), which is what the conversion below uses; 1 is limited range.
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 6
        context.color_range = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")))
        container.mux(stream.encode(None))


def render_sample(recipe: SampleRecipe, folder: Path) -> None:
    """Render one recipe's three files into `folder`."""
    names = {"action": recipe.action, "setting": recipe.setting, "move": recipe.move}
    info = scene_info(recipe.seed, SECONDS, **names)
    frames = list(
        simulate_scene(recipe.seed, WIDTH, HEIGHT, FPS, SECONDS, shadow_size=SHADOW_SIZE, **names)
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / f"{recipe.name}.mp4", frames, FPS)
    (folder / f"{recipe.name}.txt").write_text(info.caption + "\n", encoding="utf-8")
    np.savez_compressed(
        folder / f"{recipe.name}_masks.npz",
        labels=np.stack([frame.labels for frame in frames]),
        objects=np.array(info.objects),
    )


def main() -> None:
    """Render every sample, or those named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="samples to render; all if none is named")
    parser.add_argument("-o", "--out", type=Path, default=SAMPLES_FOLDER, help="folder to write")
    arguments = parser.parse_args()
    known = {recipe.name: recipe for recipe in RECIPES}
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        parser.error(f"no sample {', '.join(unknown)}; there are {', '.join(known)}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in arguments.names or known:
        render_sample(known[name], arguments.out)
        _log.info("%s: %d bytes", name, (arguments.out / f"{name}.mp4").stat().st_size)


if __name__ == "__main__":
    main()
