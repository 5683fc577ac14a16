"""PiDiNet by name: edges of a research network (Su et al., 2021), where it has been fetched.

Its licence is for research only and its weights have learnt from BSDS500, so nothing of it ships or
teaches here. The network comes with the package `controlnet_aux`, the weights from the hub, pinned
to a commit; both are fetched by the user.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semcast.errors import UnavailableError
from transmitter.extractors.sketcher import DEFAULT_DENSITY, LineDrawer, checked_frame

REPOSITORY = "lllyasviel/Annotators"
REVISION = "982e7edaec38759d914a963c48c4726685de7d96"
FILE = "table5_pidinet.pth"


class PidinetSketcher:
    """PiDiNet's probabilities, drawn as those of the bundled network are."""

    def __init__(self, density: float = DEFAULT_DENSITY, *, weights: Path | None = None) -> None:
        """weights: a file as the hub's; else the hub's own, if it is on this machine.

        Raises UnavailableError that says what to install or to fetch.
        """
        try:
            from controlnet_aux.pidi.model import pidinet  # type: ignore[import-not-found]
        except ImportError as error:
            raise UnavailableError(
                "The sketcher 'pidinet' needs its network: run 'pip install controlnet-aux', "
                "or choose 'tiny'."
            ) from error
        path = weights or _fetched()
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)[
            "state_dict"
        ]
        self._network = pidinet()
        self._network.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
        self._network.eval()
        self._lines = LineDrawer(density)

    def reset(self) -> None:
        """Forget all frames: the next one begins a video."""
        self._lines.reset()

    def sketch(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Sketch of the next frame, uint8 [H, W, 3]: uint8 [H, W], 1 on a line."""
        checked_frame(rgb)
        # As that package feeds it: blue first, 0 to 1.
        bgr = torch.from_numpy(np.ascontiguousarray(rgb[..., ::-1])).permute(2, 0, 1)[None]
        with torch.inference_mode():
            probability = self._network(bgr.float() / 255)[-1][0, 0].numpy()
        return self._lines.draw(rgb, np.asarray(probability, np.float32))


def _fetched() -> Path:
    """The weights in the hub's cache on this machine."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(REPOSITORY, FILE, revision=REVISION, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise UnavailableError(
            f"The weights of 'pidinet' are not here: run 'hf download {REPOSITORY} {FILE} "
            f"--revision {REVISION}', or choose the sketcher 'tiny'."
        ) from error
