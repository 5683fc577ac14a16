"""Generators by name: the table both ends know, what each can take, and who refuses what it cannot.

The transmitter refuses before anything starts, the receiver for itself; both say the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from tiny_checkpoints import tiny_sd_turbo

import receiver.generator
from receiver.diffusion.full_size import FullSizeGenerator
from receiver.diffusion.latent_codec import LatentCodec
from receiver.diffusion.network import TinyDiffusion
from receiver.diffusion.tiny import DIFFUSION, LATENT_CODEC, TinyGenerator, TinyNetworks
from receiver.generator import (
    MAKERS,
    Generator,
    PassthroughGenerator,
    make_generator,
    settle_generator,
)
from receiver.session import ReceiverSession
from semcast.cli import main
from semcast.errors import InputError, NotFoundError, UnavailableError
from semcast.generators import (
    AUTO,
    GENERATORS,
    check_generator,
    check_takes,
    find_generator,
    pick_generator,
)
from semcast.networks.latent_video import LatentVideo, LatentVideoShape
from semcast.networks.ntscc import Ntscc, NtsccShape
from semcast.parts.learned import codec_weights
from semcast.schemes import PICTURE_NETWORK, SCHEMES, SKETCH_NETWORK, find_scheme
from semcast.session import Modality, SessionSetup
from semcast.v1 import link_pb2, transmitter_pb2
from semcast.weights import digest
from transmitter.plan import plan_legs


def small_ntscc(in_channels: int) -> Ntscc:
    sides = (4, 4, 4)
    return Ntscc(NtsccShape(in_channels, 12, 16, 4, sides, sides)).eval()


SMALL_NETWORKS = {PICTURE_NETWORK: small_ntscc(3), SKETCH_NETWORK: small_ntscc(1)}
SMALL_CHANGES = LatentVideo(LatentVideoShape(12, 16, 4)).eval()


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learned schemes find their networks, bundled or not."""
    monkeypatch.setattr("semcast.networks.ntscc.bundled_ntscc", SMALL_NETWORKS.__getitem__)
    monkeypatch.setattr(
        "semcast.networks.latent_video.bundled_latent_video", lambda name: SMALL_CHANGES
    )
    monkeypatch.setattr("semcast.parts.learned.digest", lambda name: "0a1b2c3d")


def tiny() -> TinyGenerator:
    diffusion = TinyDiffusion().eval()
    networks = TinyNetworks(
        LatentCodec().eval(), diffusion.backbone, diffusion.adapters, torch.device("cpu")
    )
    return TinyGenerator(networks)


def sd_turbo() -> FullSizeGenerator:
    return FullSizeGenerator(tiny_sd_turbo(), short_side_px=64)


GENERATORS_AT_HAND: dict[str, Callable[[], Generator]] = {
    "passthrough": PassthroughGenerator,
    "tiny": tiny,
    "sd-turbo": sd_turbo,
}
"""One of each, without its bundled weights."""


def setup(scheme: str, generator: str) -> SessionSetup:
    return SessionSetup(
        session_id="test",
        scheme=scheme,
        width=96,
        height=80,
        fps=8.0,
        symbols_per_frame=900,
        seed=7,
        generator=generator,
        codec_weights=codec_weights(find_scheme(scheme).learned),
    )


def spec(scheme: str, generator: str) -> transmitter_pb2.SessionSpec:
    return transmitter_pb2.SessionSpec(
        session_id="test",
        clip="sample:gripper",
        scheme=scheme,
        generator=generator,
        width_px=96,
        height_px=80,
        frames_per_second=8.0,
        segment_frames=8,
        cbr=900 / (3 * 96 * 80),
        seed=7,
        channel=link_pb2.ChannelSettings(snr_db=10.0, model=link_pb2.CHANNEL_MODEL_AWGN, seed=7),
    )


def refusal(call: Callable[[], object]) -> str | None:
    """The sentence with which a call is refused, or None."""
    try:
        call()
    except InputError as error:
        return str(error)
    return None


# The table.


def test_the_receiver_makes_just_the_generators_that_both_ends_know() -> None:
    assert set(MAKERS) == set(GENERATORS) == set(GENERATORS_AT_HAND)
    for name, info in GENERATORS.items():
        assert info.name == name
        assert info.modalities
        assert find_generator(name) is info
        made = GENERATORS_AT_HAND[name]()
        assert (made.name, made.modalities) == (name, info.modalities)
        assert made.device == "cpu"


def test_the_table_names_the_weights_that_the_tiny_generator_reads() -> None:
    assert set(GENERATORS["tiny"].weights) == {LATENT_CODEC, DIFFUSION}
    assert GENERATORS["passthrough"].weights == ()


def test_each_session_gets_a_generator_of_its_own() -> None:
    assert make_generator("passthrough") is not make_generator("passthrough")


def test_tiny_is_made_of_the_bundled_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    diffusion = TinyDiffusion().eval()
    networks = TinyNetworks(
        LatentCodec().eval(), diffusion.backbone, diffusion.adapters, torch.device("cpu")
    )
    asked: list[str] = []

    def bundled(device: str) -> TinyNetworks:
        asked.append(device)
        return networks

    monkeypatch.setattr("receiver.diffusion.tiny.bundled_networks", bundled)
    made = make_generator("tiny")
    assert isinstance(made, TinyGenerator)
    assert made is not make_generator("tiny")
    assert asked == ["cuda" if torch.cuda.is_available() else "cpu"] * 2


@pytest.mark.parametrize("name", ["dreams", "", "Tiny", "tiny "])
def test_an_unknown_name_is_not_found_and_the_known_ones_are_named(name: str) -> None:
    for find in (find_generator, make_generator):
        with pytest.raises(NotFoundError) as missing:
            find(name)
        assert all(known in str(missing.value) for known in GENERATORS)
    with pytest.raises(NotFoundError, match="passthrough, tiny"):
        plan_legs(spec("lowres", "dreams"))


def test_tiny_without_its_packages_is_unavailable_and_says_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a receiver that was installed without the extra; importing it must still work."""
    monkeypatch.delitem(sys.modules, "receiver.diffusion.tiny")
    monkeypatch.delitem(sys.modules, "receiver.diffusion.backbone")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UnavailableError, match=r"\"models\".*diffusers is missing"):
        receiver.generator.make_generator("tiny")


def test_learned_schemes_without_torch_are_unavailable_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "semcast.networks.ntscc")
    monkeypatch.setitem(sys.modules, "torch", None)
    for scheme in SCHEMES.values():
        if scheme.learned:
            with pytest.raises(UnavailableError, match=r"\"models\".*torch is missing"):
                plan_legs(spec(scheme.id, "passthrough"))


def test_a_leg_names_the_weights_of_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    (plain,) = plan_legs(spec("lowres", "passthrough"))
    assert plain.setup.codec_weights == ""
    for scheme in SCHEMES.values():
        if scheme.learned:
            (plan,) = plan_legs(spec(scheme.id, "passthrough"))
            named = [item.split(":") for item in plan.setup.codec_weights.split(",")]
            assert named == [[name, "0a1b2c3d"] for name in scheme.learned.weights]
            ReceiverSession(plan.setup, PassthroughGenerator())


def test_weights_that_are_not_there_are_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("semcast.weights.FOLDER", tmp_path)
    digest.cache_clear()
    with pytest.raises(NotFoundError, match="No weights 'ntscc' in this version"):
        plan_legs(spec("djscc-rgb", "passthrough"))


# What goes with what.


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", GENERATORS)
def test_both_ends_refuse_the_same_pairs_in_the_same_words(scheme: str, name: str) -> None:
    at_transmitter = refusal(lambda: plan_legs(spec(scheme, name)))
    at_receiver = refusal(
        lambda: ReceiverSession(
            setup(scheme, name).model_copy(
                update={"mcs": "qpsk-2/3" if find_scheme(scheme).video_codec else "auto"}
            ),
            GENERATORS_AT_HAND[name](),
        )
    )
    assert at_transmitter == at_receiver
    possible = bool(GENERATORS[name].modalities & set(find_scheme(scheme).modalities))
    assert (at_transmitter is None) == possible
    if at_transmitter is not None:
        assert name in at_transmitter
        assert scheme in at_transmitter
        assert at_transmitter.endswith("choose another scheme, or the passthrough generator.")


def test_tiny_takes_semantics_and_not_classical_video() -> None:
    assert refusal(lambda: plan_legs(spec("lowres", "tiny"))) is None
    sentence = refusal(lambda: plan_legs(spec("h264-ldpc", "tiny")))
    assert sentence is not None
    takes = "contours, keyframe, lowres, sketch"
    assert f"makes frames from {takes}, which 'h264-ldpc' does not send" in sentence


def test_passthrough_takes_every_scheme() -> None:
    for scheme in SCHEMES.values():
        check_takes("passthrough", GENERATORS["passthrough"].modalities, scheme)


def test_one_modality_in_common_is_enough() -> None:
    both = frozenset({Modality.LOWRES, Modality.SKETCH})
    check_takes("some", both, find_scheme("lowres"))
    with pytest.raises(InputError, match="from lowres, sketch, which 'h264-ldpc'"):
        check_takes("some", both, find_scheme("h264-ldpc"))


def test_what_else_a_scheme_sends_is_no_hindrance() -> None:
    scheme = replace(find_scheme("lowres"), modalities=(Modality.LOWRES, Modality.KEYFRAME))
    for name in GENERATORS:
        check_generator(name, scheme)


def test_a_session_is_refused_before_its_generator_is_asked_for_anything() -> None:
    class Untouchable:
        name = "tiny"
        modalities = GENERATORS["tiny"].modalities

        def reset(self, context: object) -> None:
            raise AssertionError("reset")

        def step(self, conditions: object) -> np.ndarray:
            raise AssertionError("step")

    with pytest.raises(InputError, match="does not send"):
        ReceiverSession(
            setup("h264-ldpc", "tiny").model_copy(update={"mcs": "qpsk-2/3"}),
            cast(Generator, Untouchable()),
        )


# The best there is.


def test_auto_goes_with_every_scheme_and_stays_open_until_the_receiver_settles_it() -> None:
    assert AUTO not in GENERATORS
    for scheme in SCHEMES.values():
        check_generator(AUTO, scheme)
        (plan,) = plan_legs(spec(scheme.id, AUTO))
        assert plan.setup.generator == AUTO
    with pytest.raises(NotFoundError, match="auto, passthrough, tiny"):
        make_generator(AUTO + "x")


def test_auto_is_the_best_that_takes_the_scheme_and_can_be_run_here() -> None:
    everything, nothing = (lambda info: not info.auto_needs_gpu), (lambda info: not info.packages)
    assert pick_generator([Modality.LOWRES], lambda info: True) == "sd-turbo"
    assert pick_generator([Modality.LOWRES], everything) == "tiny"
    assert pick_generator([Modality.LOWRES], nothing) == "passthrough"
    for modality in (Modality.VIDEO, Modality.KEYFRAME, Modality.CAPTION, Modality.SKETCH):
        assert pick_generator([modality], everything) == "passthrough"
    assert pick_generator([Modality.VIDEO], lambda info: True) == "passthrough", "a baseline"
    first_frame = find_scheme("first-frame-desc").modalities
    assert pick_generator(first_frame, everything) == "tiny"
    for scheme in SCHEMES.values():
        check_generator(pick_generator(scheme.modalities, everything), scheme)


@pytest.mark.parametrize(
    ("scheme", "missing", "name"),
    [
        ("lowres", None, "tiny"),
        ("lowres", "torch", "passthrough"),
        ("lowres", "diffusers", "passthrough"),
        ("djscc-rgb", None, "passthrough"),
        ("h264-ldpc", None, "passthrough"),
    ],
)
def test_a_receiver_settles_auto_by_what_is_installed(
    scheme: str, missing: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    asked = setup(scheme, AUTO)
    settled = settle_generator(asked)
    assert settled.generator == name
    # Nothing else of the set-up changes, and a name that was asked for is never replaced.
    assert settled.model_copy(update={"generator": AUTO}) == asked
    named = setup("lowres", "tiny")
    assert settle_generator(named) is named


# At the command line.


@pytest.mark.parametrize("way", [["--in-process"], []], ids=["in process", "through the services"])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--scheme", "h264-ldpc", "--generator", "tiny"],
            "lowres, sketch, which 'h264-ldpc' does",
        ),
        (["--scheme", "desc", "--generator", "tiny"], "sketch, which 'desc' does"),
        (["--scheme", "lowres", "--generator", "dreams"], "passthrough, tiny"),
    ],
)
def test_send_refuses_with_status_two_and_one_line(
    options: list[str],
    says: str,
    way: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["send", "sample:gripper", "--snr-db", "10", "--frames", "2", *options, *way]
    monkeypatch.setattr(sys, "argv", ["semcast", *arguments])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("semcast: ")
    assert says in line
