"""A recipe of a few thousand numbers, to see what the loop does with it; also run as a process.

python tiny_run.py RUN_DIR STEPS
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.data import Library
from training.loop import RunOptions, RunResult, Trainer
from training.losses import Critic
from training.recipe import Batch, Losses, Progress, Recipe, RecipeSettings

SETTINGS = RecipeSettings(size=32, batch_size=4, warmup_steps=5, ema_decay=0.9, learning_rate=3e-3)
LIBRARY = Library(path=Path("clips"), train=(), val=(), sources=("train: 1 clip, CC0",))

Hook = Callable[[nn.Module, Progress, Losses], None]


class TinyRecipe(Recipe):
    """Noise in its batches, in its losses and in its critic; running statistics in its network.

    hook: called in every step, with the losses that the loop is about to get.
    """

    name = "tiny-test"
    title = "A network of nothing much"
    weights_name = "tiny_test"

    def __init__(
        self, hook: Hook | None = None, device: str = "cpu", settings: RecipeSettings = SETTINGS
    ) -> None:
        super().__init__(settings, LIBRARY, torch.device(device))
        self._hook = hook
        self.measured: list[dict[str, torch.Tensor]] = []

    def build(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1)
        )

    def build_critic(self) -> nn.Module:
        return Critic(width=4)

    def draw(self, rng: np.random.Generator) -> Batch:
        side = self.settings.size
        return {"x": torch.from_numpy(rng.normal(size=(4, 3, side, side)).astype(np.float32))}

    def losses(
        self, network: nn.Module, critic: nn.Module | None, batch: Batch, progress: Progress
    ) -> Losses:
        assert critic is not None
        real = batch["x"]
        made = network(real + 0.1 * torch.randn_like(real)).float()
        error = (made - real).square().mean()
        fooled = -critic(made).mean()
        losses = Losses(error + 0.01 * fooled, {"error": error, "fooled": fooled})
        if progress.done >= 0.3:
            losses.made, losses.real = made, real
        if self._hook is not None:
            self._hook(network, progress, losses)
        return losses

    def measure(self, network: nn.Module) -> dict[str, float]:
        self.measured.append({k: v.clone() for k, v in network.state_dict().items()})
        torch.randn(7)  # chance that measuring takes must not reach the training
        return {"error": float(network(torch.ones(1, 3, 8, 8, device=self.device)).square().mean())}

    def sheet(self, network: nn.Module) -> np.ndarray:
        return np.full((8, 16, 3), (255, 0, 0), np.uint8)

    def config(self) -> dict[str, int]:
        return {"channels": 8}


def run_tiny(run_dir: Path, steps: int | None, hook: Hook | None = None, **options) -> RunResult:
    """One run; options of `RunOptions`. Checkpoints and sheets at the end only, unless asked."""
    given = {"checkpoint_every_s": 1e9, "sheet_every_s": 1e9} | options
    device = given.pop("device", "cpu")
    settings = given.pop("settings", SETTINGS)
    run = RunOptions(run_dir=run_dir, steps=steps, progress_bar=False, **given)
    return Trainer(TinyRecipe(hook, device, settings), run).run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_tiny(Path(sys.argv[1]), int(sys.argv[2]), checkpoint_every_s=0.2)
