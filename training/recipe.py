"""What a recipe is: one network, its data, its losses, its schedule. The loop does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from training.data import Library

Batch = dict[str, Tensor]


class RecipeSettings(BaseModel):
    """Numbers of a run that one may want to change: `--set NAME=VALUE`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(128, ge=32, le=1024, multiple_of=8, description="Side of a training crop.")
    batch_size: int = Field(16, ge=1, le=4096, description="Crops a step.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Peak of the schedule.")
    warmup_steps: int = Field(100, ge=1, description="Steps of linear rise to the peak.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's.")
    gradient_clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="Of the weights that are kept.")
    eval_size: int = Field(256, ge=32, multiple_of=8, description="Side of held-out pictures.")
    eval_frames_per_clip: int = Field(4, ge=1, description="Held-out pictures of each clip.")


@dataclass(frozen=True)
class Progress:
    """Where a run stands. done: 0 to 1, of its steps or its time."""

    step: int
    done: float


@dataclass
class Losses:
    """total: what is minimised. terms: what the log shows."""

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    made: Tensor | None = None
    real: Tensor | None = None


class Recipe(ABC):
    """One network to train. Subclasses live in `training/recipes`, one a file.

    settings_class: the recipe's own settings. weights_name: of the file this trains.
    folders: of `shared/data/video` to train on. pack_kind: what `training.pack` carries for it,
    "clips" alone or also what was "received" of them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    weights_name: ClassVar[str]
    settings_class: ClassVar[type[RecipeSettings]] = RecipeSettings
    folders: ClassVar[tuple[str, ...]] = ("train",)
    pack_kind: ClassVar[Literal["clips", "received"]] = "clips"

    def __init__(self, settings: RecipeSettings, library: Library, device: torch.device) -> None:
        self.settings = settings
        self.library = library
        self.device = device
        self.weights_name = self.weights_name_for(settings)

    @classmethod
    def weights_name_for(cls, settings: RecipeSettings) -> str:
        """Of the file that these settings train, where they make it another one."""
        return cls.weights_name

    @abstractmethod
    def build(self) -> nn.Module:
        """The network that is trained, kept as EMA and shipped; at random."""

    def build_critic(self) -> nn.Module | None:
        """A network trained against it, or none."""
        return None

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Batch:
        """One batch, on the CPU. Called from worker threads; all chance comes from `rng`."""

    @abstractmethod
    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        """Losses of one batch on the device; chance comes from torch's own generator.

        Where there is a critic in play, `made` and `real` are what it is then trained on.
        """

    @abstractmethod
    def measure(self, network: nn.Module) -> dict[str, float]:
        """Figures on held-out clips; network in eval mode."""

    @abstractmethod
    def sheet(self, network: nn.Module) -> NDArray[np.uint8]:
        """A picture that shows what the network does on held-out clips, [H, W, 3]."""

    def config(self) -> dict[str, Any]:
        """What is needed to build the network again; stored in the weight file."""
        return {}
