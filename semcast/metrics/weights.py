"""Where do metrics find their weights, and may they download them?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SQUEEZENET_FILE = "squeezenet1_1.safetensors"


class MetricUnavailableError(Exception):
    """A metric cannot be computed here; the message is the reason, for the report's notes."""


@dataclass(frozen=True)
class HubModel:
    """A model on the hub, or a local folder in its format.

    name: hub name or folder. revision: commit of the hub repository.
    """

    name: str
    revision: str


@dataclass(frozen=True)
class MetricWeights:
    """Places to look for weights.

    squeezenet_path: SqueezeNet 1.1 in safetensors, torchvision's key names.
    folders: searched, in order, for weight files by name.
    hub_cache: folder of hub models; None means the user's own.
    allow_downloads: fetch what is missing from the hub; otherwise only its local cache is used.
    """

    squeezenet_path: Path | None = None
    folders: tuple[Path, ...] = ()
    hub_cache: Path | None = None
    allow_downloads: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> MetricWeights:
        """Read SEMCAST_SQUEEZENET, SEMCAST_WEIGHTS_DIR and SEMCAST_ALLOW_DOWNLOADS (1 allows).

        Beside a source checkout, `../shared/data/weights` is searched too.
        """
        squeezenet = environ.get("SEMCAST_SQUEEZENET")
        folder = environ.get("SEMCAST_WEIGHTS_DIR")
        checkout = Path(__file__).resolve().parents[2]
        beside = checkout.parent / "shared" / "data" / "weights"
        return cls(
            squeezenet_path=Path(squeezenet) if squeezenet else None,
            folders=((Path(folder), beside) if folder else (beside,)),
            allow_downloads=environ.get("SEMCAST_ALLOW_DOWNLOADS") == "1",
        )

    def find(self, file_name: str) -> Path | None:
        """The first folder's file of this name; None if no folder has one."""
        return next((f / file_name for f in self.folders if (f / file_name).is_file()), None)

    def squeezenet(self) -> Path:
        """The SqueezeNet file; MetricUnavailableError says where it was expected."""
        path = self.squeezenet_path or self.find(SQUEEZENET_FILE)
        if path is None or not path.is_file():
            raise MetricUnavailableError(
                f"{SQUEEZENET_FILE} not found: set SEMCAST_SQUEEZENET to it, "
                "or SEMCAST_WEIGHTS_DIR to its folder"
            )
        return path
