"""The full-size generator with tiny random weights of the same architectures, as files of the hub.

Real weights have not been run where this was written.
"""

from __future__ import annotations

import gc
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from numpy.typing import NDArray
from tiny_checkpoints import TEXT_WIDTH, save_sd_turbo, tiny_sd_turbo
from torch import Tensor

import receiver.generator
from receiver.diffusion.attention_cache import AttentionCache, CachedAttention, give_memory
from receiver.diffusion.checkpoints import installed_networks
from receiver.diffusion.full_size import (
    FullSizeGenerator,
    denoise,
    freshest_picture,
    soft_edges,
    time_steps,
    working_size,
)
from receiver.generator import Conditions, GeneratorContext, settle_generator
from semcast.cli.models import pull_model
from semcast.errors import NotFoundError, UnavailableError
from semcast.generators import AUTO
from semcast.hub import HUB_MODELS, is_installed
from semcast.session import Modality, SessionSetup

SIZE = 64
PICTURES = (Modality.VIDEO, Modality.KEYFRAME, Modality.LOWRES)


def picture(seed: int = 1, height: int = 16, width: int = 16) -> NDArray[np.uint8]:
    """Much alike in the large, so that no two look like a cut; different in the small."""
    return np.random.default_rng(seed).integers(108, 148, (height, width, 3), np.uint8)


def labels(left: int = 10) -> NDArray[np.uint8]:
    grid = np.zeros((SIZE, SIZE), np.uint8)
    grid[20:44, left : left + 24] = 1
    return grid


def sketch() -> NDArray[np.uint8]:
    strokes = np.zeros((SIZE, SIZE), np.uint8)
    strokes[30:33] = 255
    return strokes


def given(*modalities: Modality, seed: int = 1, age_frames: int = 0, **others: Any) -> Conditions:
    pictures = {modality: picture(seed + modality) for modality in modalities}
    return Conditions(pictures, dict.fromkeys(pictures, age_frames), **others)


def context(seed: int = 7, num_steps: int = 2, guidance: float = 0.0) -> GeneratorContext:
    return GeneratorContext(SIZE, SIZE, 8.0, seed, num_steps, guidance)


def started(told: GeneratorContext | None = None, window_frames: int = 2) -> FullSizeGenerator:
    generator = FullSizeGenerator(tiny_sd_turbo(), window_frames, short_side_px=SIZE)
    generator.reset(told or context())
    return generator


def stream(first: int, num_frames: int) -> list[Conditions]:
    """A key picture at first, low-res pictures after it."""
    made = [given(Modality.LOWRES, seed=first + k, caption="a cat") for k in range(num_frames)]
    made[0] = given(Modality.KEYFRAME, Modality.LOWRES, seed=first, labels=labels())
    return made


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def frames_of(generator: FullSizeGenerator, has: list[Conditions]) -> list[NDArray[np.uint8]]:
    return [generator.step(conditions) for conditions in has]


# The cache: what a frame sees.


class BandedAttention:
    """A whole stream at once, frames as a batch: softmax over what the mask lets each frame see."""

    def __init__(self, sees: NDArray[np.bool_]) -> None:
        """sees: [frames, frames]; row t has what frame t attends to."""
        self._sees = torch.from_numpy(sees)

    def __call__(self, attn: Any, hidden_states: Tensor, **_: Any) -> Tensor:
        frames, places, _width = hidden_states.shape
        everything = hidden_states.reshape(1, frames * places, -1)
        q, k, v = (
            f(everything).view(frames * places, attn.heads, -1).transpose(0, 1)
            for f in (attn.to_q, attn.to_k, attn.to_v)
        )
        mask = self._sees.repeat_interleave(places, 0).repeat_interleave(places, 1)
        logits = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        shares = logits.masked_fill(~mask, -torch.inf).softmax(-1)
        mixed = (shares @ v).transpose(0, 1).reshape(frames, places, -1)
        result: Tensor = attn.to_out[0](mixed)
        return result


def banded_causal(num_frames: int, window: int, sinks: list[int]) -> NDArray[np.bool_]:
    sees = np.zeros((num_frames, num_frames), bool)
    for t in range(num_frames):
        sees[t, max(0, t - window) : t + 1] = True
        if past := [sink for sink in sinks if sink <= t]:
            sees[t, past[-1]] = True
    return sees


def fresh_unet() -> Any:
    """One whose attention may be changed, with enough weight to tell."""
    torch.manual_seed(4)
    unet: Any = UNet2DConditionModel(**dict(tiny_sd_turbo().unet.config))
    for name, weight in unet.named_parameters():
        if "attn1.to_" in name and weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.2)
    return unet.eval().requires_grad_(False)


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("sinks", [[], [0], [0, 4], [2, 3]])
def test_a_cached_step_equals_a_recompute_under_the_banded_causal_mask(
    window: int, sinks: list[int]
) -> None:
    num_frames, steps = 8, (499, 249)
    unet = fresh_unet()
    give_memory(unet)
    own = dict(unet.attn_processors)
    start, caption = random(num_frames, 4, 8, 8), random(1, 16, TEXT_WIDTH, seed=1)
    cache = AttentionCache(window)
    cached = []
    for t in range(num_frames):
        cache.begin_frame(t in sinks)
        x = start[t : t + 1]
        for index, step in enumerate(steps):
            told = {"cache": cache, "step": index}
            x = x - unet(x, step, caption, cross_attention_kwargs=told, return_dict=False)[0]
        cached.append(x)
    sees = banded_causal(num_frames, window, sinks)
    unet.set_attn_processor(
        {n: BandedAttention(sees) if ".attn1." in n else p for n, p in own.items()}
    )
    x = start
    for step in steps:
        x = x - unet(x, step, caption.expand(num_frames, -1, -1), return_dict=False)[0]
    torch.testing.assert_close(torch.cat(cached), x, rtol=0, atol=1e-4)
    # The past is seen at all: frame by frame without memory it would be another result.
    alone = start[5:6]
    unet.set_attn_processor(own)
    for step in steps:
        alone = alone - unet(alone, step, caption, return_dict=False)[0]
    if window or sinks:
        assert (alone - x[5:6]).abs().max() > 1e-2


def test_with_nothing_cached_it_is_the_attention_of_diffusers() -> None:
    unet = fresh_unet()
    x, caption = random(2, 4, 8, 8), random(2, 16, TEXT_WIDTH, seed=1)
    unet.set_attn_processor(AttnProcessor2_0())
    expected = unet(x, 499, caption, return_dict=False)[0]
    give_memory(unet)
    assert all(isinstance(p, CachedAttention) for p in unet.attn_processors.values())
    assert torch.equal(unet(x, 499, caption, return_dict=False)[0], expected)
    cache = AttentionCache(2)
    cache.begin_frame(is_sink=True)
    told = {"cache": cache, "step": 0}
    first = unet(x, 499, caption, cross_attention_kwargs=told, return_dict=False)[0]
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-6)


def test_attention_that_does_more_is_refused() -> None:
    unet = fresh_unet()
    unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.residual_connection = True
    with pytest.raises(ValueError, match=r"down_blocks\.0.*not a plain one"):
        give_memory(unet)


def test_a_frame_is_counted_once_and_the_sink_when_it_has_left_the_window() -> None:
    cache = AttentionCache(2)
    counted = []
    for is_sink in (True, False, False, False, False, True, False, False, False):
        cache.begin_frame(is_sink)
        counted.append(cache.cached_frames)
    assert counted == [1, 2, 3, 3, 3, 2, 2, 3, 3]
    for window in (0, 3):
        plain = AttentionCache(window)
        for _ in range(9):
            plain.begin_frame(is_sink=False)
        assert plain.cached_frames == window


def test_a_cache_is_told_of_a_frame_first() -> None:
    with pytest.raises(RuntimeError, match="begin_frame"):
        AttentionCache(1).with_past(0, "layer", random(1, 1, 4, 2), random(1, 1, 4, 2))
    with pytest.raises(ValueError, match="0 or more"):
        AttentionCache(-1)


# The stream.


def test_the_past_is_seen_and_the_future_is_not() -> None:
    one, other = stream(100, 6), stream(100, 6)
    other[3] = given(Modality.LOWRES, seed=999, caption="a dog")
    first, second = frames_of(started(), one), frames_of(started(), other)
    for t in range(3):
        assert np.array_equal(first[t], second[t])
    for t in (3, 4, 5):
        assert not np.array_equal(first[t], second[t]), "what was seen before leaves no trace"


def test_equal_seeds_give_equal_frames_and_other_seeds_others() -> None:
    torch.manual_seed(1)
    first = frames_of(started(), stream(1, 4))
    torch.manual_seed(2)
    again = frames_of(started(), stream(1, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    others = frames_of(started(context(seed=8)), stream(1, 4))
    assert all((a != b).mean() > 0.2 for a, b in zip(first, others, strict=True))


def test_memory_does_not_grow_with_the_stream() -> None:
    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(held), Tensor) for held in gc.get_objects())

    generator = started()
    frames_of(generator, stream(1, 2))
    held, count = generator.cache_bytes, tensors()
    assert held > 0
    for k in range(12):
        generator.step(given(Modality.LOWRES, seed=k))
    assert generator.cache_bytes == held
    assert tensors() == count
    assert generator.cached_frames == 3


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_reset_forgets(guidance: float) -> None:
    generator = started(context(guidance=1.0 - guidance / 2))
    frames_of(generator, stream(50, 5))
    generator.reset(context(guidance=guidance))
    assert (generator.cached_frames, generator.cache_resets, generator.cache_bytes) == (0, 0, 0)
    fresh = started(context(guidance=guidance))
    for conditions in stream(1, 4):
        assert np.array_equal(generator.step(conditions), fresh.step(conditions))


def test_two_streams_share_networks_and_nothing_else() -> None:
    one, other = started(), started(context(seed=9))
    mixed = []
    for mine, its in zip(stream(1, 4), stream(70, 4), strict=True):
        mixed.append(one.step(mine))
        other.step(its)
    alone = frames_of(started(), stream(1, 4))
    assert all(np.array_equal(a, b) for a, b in zip(mixed, alone, strict=True))


def test_a_cut_is_forgotten_at_once() -> None:
    generator = started()
    frames_of(generator, stream(1, 4))
    assert (generator.cached_frames, generator.cache_resets) == (3, 0)
    scene = Conditions({Modality.LOWRES: 255 - picture() // 4}, {Modality.LOWRES: 0})
    after = generator.step(scene)
    assert (generator.cached_frames, generator.cache_resets) == (1, 1)
    assert np.array_equal(after, started().step(scene))


def test_what_was_made_of_noise_alone_is_forgotten_with_the_first_picture() -> None:
    generator = started()
    frames_of(generator, [given(caption="a cat"), given(caption="a cat")])
    assert (generator.cached_frames, generator.cache_resets) == (2, 0)
    seen = given(Modality.LOWRES, caption="a cat")
    assert np.array_equal(generator.step(seen), started().step(seen))
    assert generator.cache_resets == 1


def test_a_key_picture_stays_in_sight() -> None:
    generator = started()
    frames_of(generator, stream(1, 8))
    assert generator.cached_frames == 3
    without = started()
    frames_of(without, [given(Modality.LOWRES, seed=k) for k in range(8)])
    assert without.cached_frames == 2


def test_step_before_reset_is_a_fault_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="reset"):
        FullSizeGenerator(tiny_sd_turbo()).step(given(Modality.LOWRES))


# What it makes frames from.


@pytest.mark.parametrize("guidance", [0.0, 3.0])
def test_any_subset_of_modalities_makes_a_frame(guidance: float) -> None:
    others = {"labels": labels(), "sketch": sketch(), "caption": "a cat"}
    seen = set()
    for size in range(4):
        for pictures in itertools.combinations(PICTURES, size):
            for mask in itertools.product([False, True], repeat=3):
                kept = {k: v for keep, (k, v) in zip(mask, others.items(), strict=True) if keep}
                generator = started(context(num_steps=1, guidance=guidance))
                frame = generator.step(given(*pictures, **kept))
                assert frame.shape == (SIZE, SIZE, 3)
                assert frame.dtype == np.uint8
                assert frame.std() > 1
                seen.add((bool(pictures), mask, frame.tobytes()))
    # Each of labels, sketch and caption shows, with and without a picture.
    assert len({(had, mask) for had, mask, _ in seen}) == 16
    for had in (False, True):
        assert len({made for is_there, _, made in seen if is_there is had}) >= 8


@pytest.mark.parametrize("size", [(96, 80), (250, 130), (64, 64), (16, 200)])
def test_frames_have_the_sessions_size_and_pictures_any(size: tuple[int, int]) -> None:
    generator = FullSizeGenerator(tiny_sd_turbo(), short_side_px=SIZE)
    generator.reset(GeneratorContext(*size, 8.0, 7, 1))
    for shape in ((1, 1), (3, 50), (300, 200)):
        rgb = picture(3, *shape)
        rgb.flags.writeable = False
        frame = generator.step(Conditions({Modality.LOWRES: rgb}, {Modality.LOWRES: 0}))
        assert frame.shape == (size[1], size[0], 3)
        assert frame.dtype == np.uint8


def test_working_sizes() -> None:
    assert working_size(256, 256) == (512, 512)
    assert working_size(512, 512) == (512, 512)
    assert working_size(1920, 1080) == (896, 512)
    assert working_size(240, 320) == (512, 704)
    assert working_size(4096, 16) == (1024, 64)
    assert working_size(256, 256, short_side_px=320) == (320, 320)


def test_the_freshest_picture_is_the_start_and_of_equal_ones_the_truest() -> None:
    def start(**ages: int) -> Modality | None:
        held = {Modality[name.upper()]: age for name, age in ages.items()}
        return freshest_picture(Conditions({m: picture(m) for m in held}, held))

    assert start(keyframe=0, lowres=0) is Modality.KEYFRAME
    assert start(keyframe=3, lowres=0) is Modality.LOWRES
    assert start(keyframe=3, lowres=5) is Modality.KEYFRAME
    assert start(video=1, keyframe=1) is Modality.VIDEO
    assert start() is None
    assert start(caption=0) is None


def test_edges_are_outlines_and_strokes() -> None:
    assert soft_edges(given(), SIZE, SIZE) is None
    outline = soft_edges(given(labels=labels()), SIZE, SIZE)
    assert outline is not None
    assert outline[:, 10].max() > 0.4, "the left side of the object"
    assert outline[30, 20] == 0, "inside there is no edge"
    both = soft_edges(given(labels=labels(), sketch=sketch()), 2 * SIZE, 2 * SIZE)
    assert both is not None
    assert both.shape == (2 * SIZE, 2 * SIZE)
    assert both[63, 100] == 1
    assert both.dtype == np.float32
    assert both.min() >= 0
    assert both.max() <= 1


# Denoising.


def test_time_steps_are_those_that_sd_turbo_was_distilled_at() -> None:
    assert time_steps(1, 1) == [999]
    assert time_steps(1, 4) == [999, 749, 499, 249]
    assert time_steps(0.5, 2) == [499, 249]
    assert time_steps(0.001, 4)[-1] == 0
    for start_sigma, num_steps in ((0.0, 1), (1.1, 1), (0.5, 0)):
        with pytest.raises(ValueError, match="start_sigma"):
            time_steps(start_sigma, num_steps)


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_from_noise_it_takes_the_steps_of_diffusers_own_sampler(num_steps: int) -> None:
    networks = tiny_sd_turbo()
    noise, caption = random(1, 4, 8, 8), networks.embed("a cat")
    scheduler: Any = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(num_steps)
    x = noise * scheduler.init_noise_sigma
    for at in scheduler.timesteps:
        eps = networks.unet(scheduler.scale_model_input(x, at), at, caption, return_dict=False)[0]
        x = scheduler.step(eps, at, x, return_dict=False)[0]
    cache = AttentionCache(0)
    cache.begin_frame(is_sink=False)
    ours = denoise(networks, cache, None, noise, caption, None, time_steps(1, num_steps))
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


class KnownNoise:
    """Stands for both networks: the U-Net says 1 for what it hears with edges, 3 for what not."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, bool]] = []

    def controlnet(self, x: Tensor, *_: Any, **__: Any) -> tuple[list[Tensor], Tensor]:
        return [torch.ones(1, 2, 4, 4)], torch.ones(1, 2, 4, 4)

    def unet(self, x: Tensor, *_: Any, **told: Any) -> tuple[Tensor]:
        middle = told["mid_block_additional_residual"]
        has_edges = [middle is not None and bool(middle[row].any()) for row in range(len(x))]
        self.heard.append((len(x), any(has_edges)))
        return (torch.stack([torch.full((4, 8, 8), 1.0 if e else 3.0) for e in has_edges]),)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_guidance_is_equation_2_of_gvsc(weight: float) -> None:
    known = KnownNoise()
    networks = replace(tiny_sd_turbo(), unet=known.unet, controlnet=known.controlnet)
    latent, noise = random(1, 4, 8, 8), random(1, 4, 8, 8, seed=1)
    edges, embedded = torch.ones(1, 3, 64, 64), random(2, 16, TEXT_WIDTH)
    clean = denoise(networks, AttentionCache(0), latent, noise, embedded, edges, [499], weight)
    signal = float(networks.signal_shares[499])
    x = signal**0.5 * latent + (1 - signal) ** 0.5 * noise
    eps = 1 + weight * (3 - 1)
    torch.testing.assert_close(clean, (x - (1 - signal) ** 0.5 * eps) / signal**0.5)
    assert known.heard == [(2, True)]
    denoise(networks, AttentionCache(0), latent, noise, embedded[:1], edges, [499, 249])
    assert known.heard[1:] == [(1, True), (1, True)], "without guidance one row hears it all"


def test_guidance_needs_both_edges_and_text() -> None:
    def frame(guidance: float, **others: Any) -> NDArray[np.uint8]:
        return started(context(guidance=guidance)).step(given(Modality.LOWRES, **others))

    for alone in ({"labels": labels()}, {"caption": "a cat"}):
        assert np.array_equal(frame(1.0, **alone), frame(4.0, **alone))
    both = {"labels": labels(), "caption": "a cat"}
    assert not np.array_equal(frame(1.0, **both), frame(4.0, **both))


def test_steps_are_as_many_as_the_context_says() -> None:
    one, two = (started(context(num_steps=n)).step(given(Modality.LOWRES)) for n in (1, 2))
    default = started(context(num_steps=0)).step(given(Modality.LOWRES))
    assert not np.array_equal(one, two)
    assert np.array_equal(default, two)


# Files of the hub.


@pytest.fixture(scope="module")
def hub_cache(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("hub")
    return folder, save_sd_turbo(folder)


def test_pulled_files_are_read_by_the_real_classes(
    hub_cache: tuple[Path, dict[str, Tensor]],
) -> None:
    folder, saved = hub_cache
    assert is_installed(HUB_MODELS["sd-turbo"], folder)
    networks = installed_networks("sd-turbo", "cpu", folder)
    assert networks is installed_networks("sd-turbo", "cpu", folder)
    assert networks.dtype is torch.float32
    read = networks.controlnet.state_dict()
    assert set(read) == set(saved)
    assert all(torch.equal(read[name], saved[name]) for name in saved)
    assert networks.signal_shares.shape == (1000,)
    assert networks.signal_shares[0] > 0.999
    assert networks.signal_shares[-1] < 0.005


def test_captions_are_heard_cut_and_kept(hub_cache: tuple[Path, dict[str, Tensor]]) -> None:
    networks = installed_networks("sd-turbo", "cpu", hub_cache[0])
    nothing, cat = networks.embed(""), networks.embed("a cat")
    assert nothing.shape == cat.shape == (1, 16, TEXT_WIDTH)
    assert (cat - nothing).abs().max() > 0.1
    assert networks.embed("a cat") is cat
    assert networks.embed("a cat " * 500).shape == (1, 16, TEXT_WIDTH)
    # Weights are found under the names that the repository has for them, not left random.
    other = tiny_sd_turbo().embed("a cat")
    torch.testing.assert_close(cat, other)


@pytest.mark.parametrize("lacking", ["sd-turbo", "taesd", "sd21-soft-edges"])
def test_what_is_not_here_says_how_to_get_it(tmp_path: Path, lacking: str) -> None:
    for name in ("sd-turbo", "taesd", "sd21-soft-edges"):
        model = HUB_MODELS[name]
        folder = tmp_path / f"models--{model.repository.replace('/', '--')}/snapshots"
        if name != lacking:
            (folder / model.revision).mkdir(parents=True)
    assert not is_installed(HUB_MODELS["sd-turbo"], tmp_path)
    with pytest.raises(UnavailableError, match="semcast models pull sd-turbo"):
        installed_networks("sd-turbo", "cpu", tmp_path)


def test_broken_files_are_a_sentence(tmp_path: Path) -> None:
    save_sd_turbo(tmp_path)
    (control,) = tmp_path.rglob("hed-sd21-safe.safetensors")
    control.write_bytes(b"not safetensors")
    with pytest.raises(UnavailableError, match=r"cannot be loaded.*semcast models pull sd-turbo"):
        installed_networks("sd-turbo", "cpu", tmp_path)


def test_only_generators_of_the_hub_are_loaded() -> None:
    with pytest.raises(NotFoundError, match="No generator 'taesd'"):
        installed_networks("taesd", "cpu")


def test_pulling_it_pulls_its_parts_and_no_more_files_than_it_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pulled = []
    monkeypatch.setattr("semcast.cli.models.pull", lambda model: pulled.append(model) or tmp_path)
    pull_model("sd-turbo")
    assert [model.name for model in pulled] == ["sd-turbo", "taesd", "sd21-soft-edges"]
    said = capsys.readouterr().out
    assert all(model.licence in said for model in pulled)
    offered = "sd_turbo.safetensors unet/config.json unet/diffusion_pytorch_model.safetensors"
    offered += " unet/diffusion_pytorch_model.fp16.safetensors vae/config.json tokenizer/vocab.json"
    kept = huggingface_hub.utils.filter_repo_objects(
        offered.split(), allow_patterns=list(HUB_MODELS["sd-turbo"].files)
    )
    assert [file.rpartition("/")[2] for file in cast(Any, kept)] == [
        "config.json",
        "diffusion_pytorch_model.fp16.safetensors",
        "vocab.json",
    ]


@pytest.mark.parametrize(
    ("is_here", "has_gpu", "name"),
    [(True, True, "sd-turbo"), (True, False, "other"), (False, True, "other")],
)
def test_auto_is_sd_turbo_only_with_its_weights_and_a_gpu(
    is_here: bool, has_gpu: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver.generator, "is_installed", lambda model: is_here)
    monkeypatch.setattr(receiver.generator, "_has_gpu", lambda: has_gpu)
    setup = SessionSetup(
        session_id="test",
        scheme="lowres",
        width=96,
        height=80,
        fps=8.0,
        symbols_per_frame=900,
        generator=AUTO,
    )
    settled = settle_generator(setup).generator
    assert (settled if settled == "sd-turbo" else "other") == name
