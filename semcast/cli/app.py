"""Commands and their options. Each command's work is in the module of its name."""

from __future__ import annotations

import math
import secrets
from pathlib import Path
from typing import Annotated

import typer

from semcast.version import __version__

app = typer.Typer(
    name="semcast",
    help="Video over a noisy radio channel as meaning, rebuilt live.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SCHEME_HELP = "Scheme id, or a comma list of modalities."

SERVICES = ("transmitter", "channel", "receiver", "console")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"semcast {__version__}")
        raise typer.Exit()


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise typer.BadParameter(f"{number} is not a finite number.")
    return number


Steps = Annotated[
    int, typer.Option(min=0, max=8, help="Denoising steps a frame; 0 is the generator's choice.")
]
Guidance = Annotated[
    float,
    typer.Option(
        min=0, max=10, callback=_finite, help="Weight of the generator's guidance; 0 for none."
    ),
]


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def demo(
    clip: Annotated[str, typer.Option(help="A clip to begin with.")] = "",
    scheme: Annotated[
        str,
        typer.Option(
            help="Scheme id, or a comma list of modalities; default contours-lowres, without "
            "torch or with fewer than four cores lowres."
        ),
    ] = "",
    snr_db: Annotated[float, typer.Option(help="Es/N0 to begin with, dB.")] = 10.0,
    generator: Annotated[
        str, typer.Option(help="What makes the frames; auto takes the best for the scheme.")
    ] = "auto",
    steps: Steps = 0,
    guidance: Guidance = 0.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page.")] = 8080,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, help="Stop after this many seconds.")
    ] = None,
) -> None:
    """Start everything on this machine and print the URL."""
    from semcast.cli.demo import run_demo

    run_demo(
        clip=clip,
        scheme=scheme,
        snr_db=snr_db,
        generator=generator,
        steps=steps,
        guidance=guidance,
        port=port,
        browser=browser,
        seconds=seconds,
    )


@app.command()
def send(
    clip: Annotated[str, typer.Argument(help="A file, a folder of pictures, or sample:NAME.")],
    scheme: Annotated[str, typer.Option(help=_SCHEME_HELP)] = "lowres",
    snr_db: Annotated[float, typer.Option(help="Es/N0, dB.")] = 10.0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Received video (.mp4).")
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 8.0,
    size: Annotated[str, typer.Option(help="Side of a square, or WxH, pixels.")] = "256",
    frames: Annotated[
        int | None, typer.Option(min=1, max=1_000_000_000, help="Stop after this many frames.")
    ] = None,
    segment: Annotated[int, typer.Option(min=1, max=10_000, help="Frames per segment.")] = 8,
    cbr: Annotated[
        float | None, typer.Option(help="Symbols per source sample; each scheme has a default.")
    ] = None,
    mcs: Annotated[
        str, typer.Option(help="Rung of the ladder, or auto; default what the scheme has.")
    ] = "default",
    channel: Annotated[str, typer.Option(help="awgn, rayleigh or burst.")] = "awgn",
    feedback_delay: Annotated[
        int, typer.Option(min=1, max=4, help="Frames until feedback is in force.")
    ] = 1,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Of noise, pilots and generator.")
    ] = 7777,
    caption: Annotated[str, typer.Option(help="Caption; else the .txt beside the clip.")] = "",
    segmenter: Annotated[
        str, typer.Option(help="What finds objects: bundled, or a name of 'semcast models'.")
    ] = "bundled",
    sketcher: Annotated[
        str, typer.Option(help="What finds strokes: bundled, or a name of 'semcast models'.")
    ] = "bundled",
    captioner: Annotated[
        str, typer.Option(help="What writes captions: a name, none, or the one installed.")
    ] = "",
    generator: Annotated[
        str, typer.Option(help="What makes the frames: auto, or a name of 'semcast models'.")
    ] = "passthrough",
    steps: Steps = 0,
    guidance: Guidance = 0.0,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Without gRPC and processes; equal frames.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Report (.json).")] = None,
    frames_out: Annotated[Path | None, typer.Option(help="Source and received (.npz).")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Folder for every message that entered the receiver.")
    ] = None,
) -> None:
    """Stream a clip through the three services and write what the receiver made."""
    from semcast.cli.send import Outputs
    from semcast.cli.send import send as run_send
    from semcast.errors import InputError
    from semcast.rpc.messages import channel_model_to_proto
    from semcast.session import ChannelModel
    from semcast.v1 import link_pb2, transmitter_pb2
    from transmitter.sources import parse_size

    width, height = parse_size(size)
    models = {model.label: model for model in ChannelModel}
    if channel not in models:
        raise InputError(f"Unknown channel '{channel}': choose one of {', '.join(models)}.")
    if cbr is not None and not 0 < cbr <= 1:
        raise InputError(f"CBR {cbr:g} is out of range: give symbols per source sample, 0 to 1.")
    spec = transmitter_pb2.SessionSpec(
        session_id=f"send-{secrets.token_hex(4)}",
        clip=clip,
        scheme=scheme,
        width_px=width,
        height_px=height,
        frames_per_second=fps,
        segment_frames=segment,
        cbr=cbr or 0.0,
        mcs=mcs,
        seed=seed,
        generator=generator,
        generator_steps=steps,
        guidance=guidance,
        caption=caption,
        segmenter=segmenter,
        sketcher=sketcher,
        captioner=captioner,
        max_frames=frames or 0,
        measurement_tap=True,
        feedback_delay_frames=feedback_delay,
        channel=link_pb2.ChannelSettings(
            snr_db=snr_db, model=channel_model_to_proto(models[channel]), seed=seed
        ),
    )
    run_send(spec, Outputs(output, report, frames_out, record), in_process=in_process)


@app.command()
def replay(
    record: Annotated[Path, typer.Argument(help="What `send --record` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Received video (.mp4).")],
    frames_out: Annotated[Path | None, typer.Option(help="Received frames (.npz).")] = None,
) -> None:
    """Run the receiver alone on recorded symbols."""
    from semcast.cli.replay import replay_record

    replay_record(record, output, frames_out)


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def serve(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help=", ".join(SERVICES))],
) -> None:
    """Run one service; `semcast serve SERVICE --help` lists its settings."""
    from semcast.cli.serve import run

    run(service, context.args)


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def train(context: typer.Context) -> None:
    """Train one weight file and write its card; `semcast train --help` lists the options."""
    from semcast.cli.train import run

    raise typer.Exit(run(context.args))


@app.command()
def doctor() -> None:
    """Say what this machine can run."""
    from semcast.cli.doctor import examine

    raise typer.Exit(examine())


@app.command()
def models(
    action: Annotated[str, typer.Argument(help="list, or pull.")] = "list",
    name: Annotated[str, typer.Argument(help="What to pull.")] = "",
) -> None:
    """List what is bundled and what the hub offers, or pull a model from it."""
    from semcast.cli.models import list_models, pull_model
    from semcast.errors import InputError

    if action == "list":
        list_models()
    elif action == "pull":
        pull_model(name)
    else:
        raise InputError(
            f"Unknown action '{action}': use 'semcast models' or 'semcast models pull NAME'."
        )
