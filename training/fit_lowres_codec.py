"""Fits the entropy tables of the low-res codec to real clips and writes them as source.

    python -m training.fit_lowres_codec --data ../shared/data/video/train --from-scratch
    python -m training.fit_lowres_codec --data ../shared/data/video/train          # twice more

A round encodes the training clips (8 fps, several sizes, budgets and reference ages) with the
present tables, then fits by maximum likelihood the bias and weights of the context model together
with the 40 distributions (Adam, soft choice between neighbouring levels), counts the header
symbols, and rewrites `semcast/codecs/lowres_tables.py`. The tables depend on the choices of an
encoder that uses the tables, hence the rounds. `video/val` is never touched.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import av
import numba
import numpy as np
import torch
from numpy.typing import NDArray

from semcast.codecs import (
    lowres,
    lowres_frame,
    lowres_layout,
    lowres_motion,
    lowres_picture,
    lowres_search,
    lowres_tables,
)
from semcast.codecs import lowres_coefficients as coefficients

SIZES = ((16, 16), (24, 24), (24, 24), (32, 32), (32, 32), (40, 24), (48, 48))  # width, height
BITS_PER_PIXEL = (0.05, 0.1, 0.17, 0.3, 0.5)
FPS = 8
TABLES = Path(lowres_tables.__file__)


def read_clip(path: Path, num_frames: int) -> list[NDArray[np.uint8]]:
    """The first frames at 8 fps, uint8 [H, W, 3]."""
    frames: list[NDArray[np.uint8]] = []
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        due = 0.0
        for frame in container.decode(stream):
            if frame.time is not None and frame.time + 1e-6 < due:
                continue
            due += 1 / FPS
            frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == num_frames:
                break
    return frames


@numba.njit
def _collect(values, known, frequencies, blocks, num, p, mode, qp, area_log, out, label):
    """Features, qp, area, class, mode, plane and |value| of every coded coefficient of plane p."""
    magnitudes = np.minimum(np.abs(values), 63)
    padded = np.zeros((3, values.shape[1] + 1, values.shape[2] + 1), dtype=np.int32)
    activity = np.zeros((3, values.shape[1] + 1), dtype=np.int32)
    for q in range(p):
        padded[q, :-1, :-1] = magnitudes[q]
    row = 0
    for f in range(num):
        for b in range(values.shape[1]):
            found = coefficients.features(padded, activity, known, frequencies, blocks, p, f, b)
            for k in range(9):
                out[row, k] = found[k]
            out[row, 9] = qp
            out[row, 10] = area_log
            out[row, 11] = frequencies[f, 5]
            out[row, 12] = mode
            out[row, 13] = p
            label[row] = min(abs(values[p, b, f]), 15)
            padded[p, b, f] = magnitudes[p, b, f]
            activity[p, b] += magnitudes[p, b, f]
            row += 1
    return row


class Statistics:
    """Everything counted over the training frames."""

    def __init__(self) -> None:
        self.samples: list[NDArray[np.uint8]] = []
        self.labels: list[NDArray[np.uint8]] = []
        self.counts = np.zeros(
            (coefficients.NUM_MODES, coefficients.NUM_COUNT_CONTEXTS, lowres_layout.NUM_COUNTS)
        )
        self.motion = np.zeros((4, 4 * lowres_motion.MAX_MOTION + 1))
        self.qp_change = np.zeros((2, coefficients.NUM_QP))
        self.qp_first = np.zeros(coefficients.NUM_QP)
        self.means = np.zeros((3, max(lowres_frame.MEAN_COUNTS)))
        self.kind = np.zeros((2, 6))
        self.transform = np.zeros((3, 3))
        self.filter = np.zeros((3, 4))
        self.blur = np.zeros((3, 3))
        self.offset_sum = np.zeros(3)
        self.offset_count = np.zeros(3)

    def add_coefficients(self, plan, target, reference, geometry) -> None:
        layout = lowres_frame.layout_of(plan.transform, geometry)
        predicted = lowres_frame.predicted_planes(
            plan.prediction, plan.means, plan.field, plan.blur, reference, geometry
        )
        transforms = lowres_frame.known_transforms(plan.prediction, predicted, reference, layout)
        known = lowres_frame.known_scales(transforms, layout, plan.qp)
        mode = lowres_frame.mode_of(plan.prediction, plan.transform)
        for p in range(3):
            context = coefficients.count_context(p, plan.counts[0] > 0, plan.counts[1] > 0)
            self.counts[mode, context, plan.counts[p]] += 1
            num = int(layout.counts[plan.counts[p]])
            out = np.zeros((num * layout.num_blocks, 14), dtype=np.uint8)
            label = np.zeros(num * layout.num_blocks, dtype=np.uint8)
            _collect(
                plan.values, known, layout.frequencies, layout.blocks, num, p, mode, plan.qp,
                layout.area_log, out, label,
            )  # fmt: skip
            self.samples.append(out)
            self.labels.append(label)
        exact = lowres_layout.to_scan(
            layout, lowres_picture.forward_transform(target - predicted, layout.block)
        )
        step = float(coefficients.STEPS[plan.qp])
        for k in range(3):
            chosen = np.abs(plan.values) == k + 1 if k < 2 else np.abs(plan.values) >= 3
            chosen &= np.sign(exact) == np.sign(plan.values)
            self.offset_sum[k] += np.sum(np.abs(plan.values[chosen]) - np.abs(exact[chosen]) / step)
            self.offset_count[k] += chosen.sum()

    def add_header(self, plan, target, reference) -> None:
        for p, mean in enumerate(lowres_search.quantise_means(target)):
            self.means[p, mean] += 1
        self.kind[int(reference is not None), plan.prediction + 3 * plan.empty] += 1
        if plan.prediction != lowres_frame.INTRA:
            self.blur[plan.prediction, plan.blur] += 1
        if plan.field is not None:
            for by in range(plan.field.shape[0]):
                for bx in range(plan.field.shape[1]):
                    dy, dx, spread = lowres_motion.median_predictor(plan.field, by, bx)
                    context = lowres_motion.motion_context(spread)
                    for found, expected in zip(plan.field[by, bx], (dy, dx), strict=True):
                        self.motion[context, abs(int(found) - expected)] += 1
        if plan.empty:
            return
        self.transform[plan.prediction, plan.transform] += 1
        self.filter[plan.prediction, plan.filter] += 1
        if plan.prediction == lowres_frame.INTRA:
            self.qp_first[plan.qp] += 1
        else:
            self.qp_change[plan.prediction - 1, abs(plan.qp - reference.qp)] += 1


def gather(data: Path, frames_per_clip: int, rng: np.random.Generator) -> Statistics:
    """Encodes every clip once in each of three random settings."""
    stats = Statistics()
    for path in sorted(data.glob("*.mp4")):
        frames = read_clip(path, frames_per_clip)
        for _ in range(3):
            width, height = SIZES[rng.integers(len(SIZES))]
            geometry = lowres.LowresGeometry(width, height)
            budget = max(30, int(width * height * BITS_PER_PIXEL[rng.integers(5)]))
            age = int(rng.choice([1, 1, 1, 2, 3]))
            history: list[lowres.LowresState | None] = [None] * age
            for number, frame in enumerate(frames):
                small = lowres.shrink(frame, geometry)
                reference = history[number] if rng.random() > 0.03 else None
                target = lowres_picture.planes_from_rgb(small)
                plan = lowres_search.plan_frames(target, reference, budget)[0]
                history.append(lowres_frame.reconstruct(plan, reference, geometry))
                stats.add_header(plan, target, reference)
                if not plan.empty:
                    stats.add_coefficients(plan, target, reference, geometry)
                _other_mode(stats, plan, target, reference, geometry, budget, rng)
    return stats


def _other_mode(stats, plan, target, reference, geometry, budget, rng) -> None:
    """Now and then a mode that lost, so that rare modes have tables too."""
    if rng.random() > 0.3:
        return
    prediction = plan.prediction if rng.random() < 0.7 else lowres_frame.INTRA
    transform = int(rng.integers(3))
    if transform == 1 and lowres_frame.block_shape(transform, geometry) is None:
        return
    field = plan.field if prediction == lowres_frame.MOTION else None
    means = lowres_search.quantise_means(target)
    start = replace(plan, prediction=prediction, field=field, means=means)
    search = lowres_search.LowresSearch(target, reference, start, transform)
    for other in search.run(budget, plan.qp)[:1]:
        stats.add_coefficients(other, target, reference, geometry)


def fit(stats: Statistics, steps: int, seed: int) -> tuple[NDArray, NDArray, NDArray]:
    """Bias [9, 3, classes], weights [9, 3, 11] (levels per unit) and levels [L, 16]."""
    torch.manual_seed(seed)
    samples = torch.from_numpy(np.concatenate(stats.samples))
    labels = torch.from_numpy(np.concatenate(stats.labels)).long()
    num_levels = coefficients.NUM_LEVELS
    bias = torch.tensor(np.array(lowres_tables.BIAS) / 4096.0, dtype=torch.float32)
    weights = torch.tensor(np.array(lowres_tables.WEIGHTS) / 4096.0 * 16, dtype=torch.float32)
    frequencies = torch.tensor(lowres_tables.LEVELS, dtype=torch.float32)
    bias.requires_grad_()
    weights.requires_grad_()
    logits = torch.log(frequencies / frequencies.sum(1, keepdim=True)).requires_grad_()
    optimizer = torch.optim.Adam(
        [
            {"params": [bias], "lr": 0.05},
            {"params": [weights], "lr": 0.02},
            {"params": [logits], "lr": 0.01},
        ]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    running = 0.0
    for step in range(steps):
        chosen = torch.randint(len(samples), (32768,), generator=generator)
        batch, label = samples[chosen].long(), labels[chosen]
        mode, plane = batch[:, 12], batch[:, 13]
        inputs = batch[:, :11].float() / 16
        z = bias[mode, plane, batch[:, 11]] + (weights[mode, plane] * inputs).sum(1)
        z = z.clamp(0, num_levels - 1.001)
        lower = z.floor()
        fraction = (z - lower).unsqueeze(1)
        index = lower.long()
        probability = torch.softmax(logits, 1)
        mixed = (1 - fraction) * probability[index] + fraction * probability[
            (index + 1).clamp(max=num_levels - 1)
        ]
        loss = -torch.log2(mixed.gather(1, label.unsqueeze(1)) + 1e-9).mean()
        penalty = 1e-4 * (weights**2).mean() + 1e-6 * (bias**2).mean()
        optimizer.zero_grad()
        (loss + penalty).backward()
        optimizer.step()
        schedule.step()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 250 == 249:
            print(f"step {step + 1}: {running:.4f} bits per coefficient", flush=True)
    # The integer model truncates z, the fit interpolates: half a level up makes them agree.
    return (
        bias.detach().numpy() + 0.5,
        weights.detach().numpy() / 16,
        torch.softmax(logits.detach(), 1).numpy(),
    )


def smooth(counts: NDArray, total: int, kernel: tuple[float, ...] = (1.0,)) -> NDArray:
    """Positive integer frequencies from counts, blurred along the last axis."""
    half = len(kernel) // 2
    blurred = np.apply_along_axis(
        lambda row: np.convolve(np.pad(row, half, mode="edge"), kernel, mode="valid"), -1, counts
    )
    blurred = blurred / np.maximum(blurred.sum(axis=-1, keepdims=True), 1)
    return np.maximum(np.rint(blurred * total + total / 20000), 1).astype(int)


def monotone_tail(row: NDArray, start: int) -> NDArray:
    """From `start` on, the mean over octaves: too few samples for more."""
    result = row.astype(float)
    low = start
    while low < len(row):
        high = min(len(row), low + max(4, low // 2))
        result[low:high] = row[low:high].mean()
        low = high
    return result


def write_tables(values: dict[str, object]) -> None:
    """Rewrites lowres_tables.py."""
    lines = [
        '"""Entropy tables of the low-res codec, written by training/fit_lowres_codec.py.',
        "",
        "Fitted on the clips of video/train. Changing any of them changes the bitstream.",
        '"""',
        "",
        "# fmt: off",
    ]
    for name, value in values.items():
        rank = np.ndim(value)
        kind = "int"
        for _ in range(rank):
            kind = f"list[{kind}]"
        lines.append(f"{name}: {kind} = {_literal(value, 0)}")
    lines.append("# fmt: on")
    TABLES.write_text("\n".join(lines) + "\n")


def _literal(value: object, depth: int) -> str:
    array = np.asarray(value)
    if array.ndim == 1:
        text, rows = "", []
        for number in array.tolist():
            if len(text) + len(str(number)) + 2 > (76 if not rows else 92) - 4 * depth:
                rows.append(text.rstrip())
                text = ""
            text += f"{number}, "
        rows.append(text.rstrip(", "))
        inner = ("\n" + " " * (4 * depth + 1)).join(rows)
        return f"[{inner}]"
    rows = [_literal(row, depth + 1) for row in array]
    pad = " " * (4 * (depth + 1))
    return "[\n" + "".join(f"{pad}{row},\n" for row in rows) + " " * (4 * depth) + "]"


def initial_tables() -> dict[str, object]:
    """Laplace distributions and hand-set weights, to start the first round from."""
    num_levels = 40
    magnitude = np.arange(16)
    levels = []
    for scale in 2.0 ** (-3.5 + 7.5 * np.arange(num_levels) / (num_levels - 1)):
        edge = np.exp(-(magnitude + 0.6) / scale)
        mass = np.concatenate([[1 - edge[0]], edge[:-1] - edge[1:]])
        mass[-1] = edge[-2]
        levels.append(np.maximum(1, np.rint(mass * 65536)).astype(int))
    per_octave = (num_levels - 1) / 7.5
    bias = np.zeros((coefficients.NUM_MODES, 3, lowres_layout.NUM_CLASSES))
    weights = np.zeros((coefficients.NUM_MODES, 3, coefficients.NUM_WEIGHTS))
    for plane in range(3):
        bias[:, plane] = 9 - 4 * (plane > 0) - 0.5 * np.arange(lowres_layout.NUM_CLASSES)
        weights[:, plane, :6] = (0.35, 0.2, 0.1, 0.1, 0.15 * (plane > 0), 0.15 * (plane > 1))
        weights[3:, plane, 6] = 0.1
    weights *= per_octave / 16
    distance = np.arange(4 * lowres_motion.MAX_MOTION + 1)
    motion = [
        np.rint(np.exp(-distance / scale) * 65536 + 1).astype(int) for scale in (0.6, 2, 6, 12)
    ]
    for row in motion:
        row[0] = row[0] // 2
    return {
        "BIAS": np.rint(bias * 4096).astype(int),
        "WEIGHTS": np.rint(weights * 4096).astype(int),
        "LEVELS": np.array(levels),
        "COUNTS": np.ones(
            (coefficients.NUM_MODES, coefficients.NUM_COUNT_CONTEXTS, lowres_layout.NUM_COUNTS),
            dtype=int,
        ),
        "RECONSTRUCTION": np.array([2, 1, 1]),
        "MOTION": np.array(motion)[:, : 2 * lowres_motion.MAX_MOTION + 1],
        "QP_CHANGE": np.rint(
            np.exp(-np.arange(coefficients.NUM_QP) / 2) * 65536 + np.ones((2, 1))
        ).astype(int),
        "QP_FIRST": np.ones(coefficients.NUM_QP, dtype=int),
        "MEANS": np.ones((3, max(lowres_frame.MEAN_COUNTS)), dtype=int),
        "KIND": np.array([[9, 1, 1, 9, 1, 1], [1, 5, 5, 1, 1, 1]]),
        "TRANSFORM": np.ones((3, 3), dtype=int),
        "FILTER": np.ones((3, 4), dtype=int),
        "BLUR": np.ones((3, 3), dtype=int),
    }


def main() -> None:
    """One round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=20, help="frames per clip")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from-scratch", action="store_true", help="write the initial tables")
    arguments = parser.parse_args()
    if arguments.from_scratch:
        write_tables(initial_tables())
        print(f"wrote initial {TABLES.name}; run again without --from-scratch")
        return
    torch.set_num_threads(1)
    if len(lowres_tables.WEIGHTS[0][0]) != coefficients.NUM_WEIGHTS:
        raise SystemExit("the tables are of another format: start --from-scratch")
    stats = gather(arguments.data, arguments.frames, np.random.default_rng(arguments.seed))
    print("kinds", stats.kind.tolist(), "transforms", stats.transform.tolist())
    print("filters", stats.filter.tolist(), "blurs", stats.blur.tolist())
    bias, weights, levels = fit(stats, arguments.steps, arguments.seed)
    half = 2 * lowres_motion.MAX_MOTION + 1
    motion = np.stack([monotone_tail(row[:half], 6) for row in stats.motion])
    motion_frequencies = smooth(motion + 0.02, 1 << 16)
    # A magnitude's frequency counts both signs; zero has one (see signed_frequencies).
    offsets = stats.offset_sum / np.maximum(stats.offset_count, 1)
    write_tables(
        {
            "BIAS": np.rint(bias * 4096).astype(int),
            "WEIGHTS": np.rint(weights * 4096).astype(int),
            "LEVELS": np.maximum(np.rint(levels * 65536), 1).astype(int),
            "COUNTS": smooth(stats.counts + 0.3, 1 << 12, (0.25, 0.5, 0.25)),
            "RECONSTRUCTION": np.rint(32 * offsets).astype(int),
            "MOTION": motion_frequencies,
            "QP_CHANGE": smooth(
                np.stack([monotone_tail(row, 5) for row in stats.qp_change]) + 0.5, 1 << 16
            ),
            "QP_FIRST": smooth(stats.qp_first + 1, 1 << 12, (0.1, 0.2, 0.4, 0.2, 0.1)),
            "MEANS": smooth(
                stats.means + 0.03 * stats.means.sum(axis=1, keepdims=True),
                1 << 12,
                (0.25, 0.5, 0.25),
            ),
            "KIND": smooth(stats.kind + 0.02 * stats.kind.sum(axis=1, keepdims=True), 1 << 12),
            "TRANSFORM": smooth(stats.transform + 1, 1 << 12),
            "FILTER": smooth(stats.filter + 1, 1 << 12),
            "BLUR": smooth(stats.blur + 1, 1 << 12),
        }
    )
    print("reconstruction offsets", offsets)


if __name__ == "__main__":
    main()
