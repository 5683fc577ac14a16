"""Which scene seeds belong to the bundled samples, and are therefore never trained on.

The demo, the tests and the published figures show the bundled samples. A model that had trained
on those scenes would be judged on its training data, so their seeds are set aside here and every
training recipe calls `refuse_reserved_seed` before it renders a scene.
"""

from semcast.errors import InputError

RESERVED_SAMPLE_SEEDS = range(7_000_000, 7_001_000)
"""Scene seeds of bundled samples: 7000000 to 7000999. Chosen far above any count of training
scenes, so that a recipe that numbers its scenes from 0 does not meet them."""


def is_reserved_for_samples(seed: int) -> bool:
    """Whether `seed` belongs to a bundled sample's scene (see `RESERVED_SAMPLE_SEEDS`)."""
    return seed in RESERVED_SAMPLE_SEEDS


def refuse_reserved_seed(seed: int) -> None:
    """Raise `InputError` if a training recipe asks for a scene set aside for the samples."""
    if is_reserved_for_samples(seed):
        raise InputError(
            f"scene seed {seed} is set aside for the bundled samples; train on seeds outside "
            f"{RESERVED_SAMPLE_SEEDS.start}..{RESERVED_SAMPLE_SEEDS.stop - 1}"
        )
