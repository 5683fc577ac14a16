"""The latent codec: shapes, cost, the range of its latents, and what the bundled one is worth."""

import cv2
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from receiver.diffusion.latent_codec import LATENT_CHANNELS, LatentCodec
from semcast.errors import NotFoundError
from semcast.samples import sample_names, sample_path
from semcast.weights import find_weights, read_weights


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80)])
def test_latents_are_an_eighth_of_the_side(height: int, width: int) -> None:
    codec = LatentCodec().eval()
    rgb = torch.rand(2, 3, height, width) * 2 - 1
    with torch.inference_mode():
        latents = codec.encode(rgb)
        assert latents.shape == (2, LATENT_CHANNELS, height // 8, width // 8)
        assert codec.decode(latents).shape == rgb.shape
        assert torch.equal(codec(rgb), codec.decode(latents))
    assert LatentCodec(4).eval().encode(rgb).shape[1] == 4


def test_cost_at_256_is_within_the_issues_budget() -> None:
    codec = LatentCodec().eval()
    macs = {}
    for name, run, shape in (
        ("encode", codec.encode, (1, 3, 256, 256)),
        ("decode", codec.decode, (1, LATENT_CHANNELS, 32, 32)),
    ):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            run(torch.zeros(shape))
        macs[name] = counter.get_total_flops() / 2
    assert macs["encode"] <= 1.2e9 and macs["decode"] <= 4e9


def test_latents_have_zero_mean_and_unit_variance_whatever_the_encoder_says() -> None:
    codec = LatentCodec().train()
    with torch.no_grad():
        codec.encoder.head.weight *= 30
        codec.encoder.head.bias += 5
    pictures = torch.rand(8, 3, 64, 64) * 2 - 1
    latents = codec.encode(pictures)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    assert (latents.var((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-2
    # The receiver uses running statistics: they come to say the same.
    with torch.no_grad():
        encoded = codec.encoder(pictures)
        for _ in range(600):
            codec.normalise(encoded)
        latents = codec.eval().encode(pictures)
    assert latents.mean((0, 2, 3)).abs().max() < 0.05
    assert (latents.var((0, 2, 3), unbiased=False) - 1).abs().max() < 0.05


def test_normalisation_has_nothing_to_learn() -> None:
    """A scale that is learned could shrink the latents under the noise that is added to them."""
    assert not list(LatentCodec().normalise.parameters())


def test_one_picture_is_coded_alike_alone_or_among_others() -> None:
    codec = LatentCodec().eval()
    rgb = torch.rand(3, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(codec(rgb)[1:2], codec(rgb[1:2]), atol=1e-5, rtol=1e-5)


def test_latent_noise_is_of_the_size_asked_for() -> None:
    codec = LatentCodec(4).eval()
    codec.decoder = torch.nn.Identity()
    rgb = torch.rand(4, 3, 128, 128) * 2 - 1
    with torch.inference_mode():
        clean = codec(rgb)
        difference = codec(rgb, 0.25) - clean
        assert torch.equal(codec(rgb), clean), "and none unless asked for"
    # 4096 values: the standard deviation is known to 1.1 %, five sigma are 5.5 %.
    assert float(difference.std()) == pytest.approx(0.25, rel=0.055)


def test_everything_learns() -> None:
    codec = LatentCodec().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # residual branches begin at zero, and let no gradient past at first
        for parameter in codec.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    rgb = torch.rand(2, 3, 32, 32) * 2 - 1
    (codec(rgb, 0.05) - rgb).abs().mean().backward()
    for name, parameter in codec.named_parameters():
        if name != "encoder.head.bias":  # the normalisation takes a mean away
            assert parameter.grad is not None and parameter.grad.abs().max() > 1e-9, name


def test_the_bundled_codec_keeps_pictures() -> None:
    """On the samples, which it has not seen. The floor is for what is broken: a network at random
    is far below it, and the card says how good the codec is."""
    try:
        path = find_weights("latent_codec")
    except NotFoundError:
        pytest.skip("this version bundles no latent codec")
    state, header = read_weights(path)
    codec = LatentCodec(**header["config"]).eval()
    codec.load_state_dict(state)
    for name in sample_names():
        capture = cv2.VideoCapture(str(sample_path(name)))
        frame = cv2.resize(capture.read()[1], (256, 256), interpolation=cv2.INTER_AREA)
        capture.release()
        rgb = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1]))
        x = rgb.permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            made = codec(x).clamp(-1, 1)
            latents = codec.encode(x)
        psnr_db = -10 * float(torch.log10(((made - x) / 2).square().mean()))
        assert psnr_db > 18, (name, psnr_db)
        # Unit variance is over many pictures; one must not be far from it.
        assert 0.3 < float(latents.std()) < 2, (name, float(latents.std()))
