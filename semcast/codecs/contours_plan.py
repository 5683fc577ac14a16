"""What to say of a frame's contours within a budget of bits (the encoder's choice).

For every object there are offers (`contours_offers`). Those that repair most per bit are bought
until the budget is spent. Wrong pixels count relative to the root of the object's area, so small
objects matter. What repairs less than `min_gain` per bit is left alone, which is the hysteresis
that keeps a still scene silent; what a budget cannot pay waits for later frames.
"""

import numpy as np
from numpy.typing import NDArray

from semcast.codecs.contours_offers import (
    HEADER_BITS,
    Box,
    EncoderChoices,
    Offer,
    Window,
    around,
    cut_window,
    motion_offers,
    octagon_offer,
    polygon_offers,
    splice_offers,
)
from semcast.codecs.contours_painting import painting_order, twice_area_of
from semcast.codecs.contours_polygon import (
    label_boxes,
    paint,
)
from semcast.codecs.contours_symbols import SymbolCounter
from semcast.codecs.contours_syntax import (
    GONE,
    MAX_OBJECTS,
    STILL,
    ContourObject,
    FramePlan,
    Geometry,
    Mode,
    code_frame,
)

_MAX_TRIES = 4
"""Plans with exact prices before the last is taken."""
_SPLICE_ROUNDS = 2
_LEAST_SPLICE_BITS = 18.0
_MAX_REPAIRED = 2
"""Objects a round that splices are looked for."""
_MAX_FITTED = 4
"""Objects per frame whose polygons are fitted anew; the worst come first."""


def _cost_bits(geometry: Geometry, reference: tuple[ContourObject, ...], plan: FramePlan) -> float:
    counter = SymbolCounter()
    code_frame(counter, geometry, reference, plan)
    return counter.num_bits


def plan_frame(
    labels: NDArray[np.uint8],
    reference: tuple[ContourObject, ...],
    budget_bits: float,
    geometry: Geometry,
    choices: EncoderChoices,
) -> tuple[FramePlan, float]:
    """Plan of a frame and its exact information in bits, at most `budget_bits`."""
    found = label_boxes(labels, MAX_OBJECTS + 1)
    area_px = found[:, 4]
    boxes: dict[int, Box] = {}
    for k in range(1, MAX_OBJECTS + 1):
        if area_px[k]:
            x0, y0, x1, y1, _ = map(int, found[k])
            boxes[k] = (x0, y0, x1, y1)
    windows: dict[int, Window] = {}
    offers: list[Offer] = []
    now: dict[int, Offer] = {}
    front = np.zeros_like(labels)
    gone: list[tuple[float, int]] = []
    flow: tuple[int, int] | None = None
    for held in reversed(painting_order(reference)):
        if held.id not in boxes:
            gone.append((float(abs(twice_area_of(held))), held.id))
            continue
        x0, y0, x1, y1 = box = around(boxes[held.id], held, geometry)
        window = cut_window(labels, front[y0:y1, x0:x1] != 0, box, held.id)
        windows[held.id] = window
        ways = motion_offers(held, window, flow, geometry, choices.min_gain)
        now[held.id] = ways[0]
        offers += ways[1:]
        likely = min(ways, key=lambda way: way.wrong_px)
        if likely.mode is not None and likely.mode.kind != STILL:
            flow = likely.mode.motion
        paint(front, likely.made.points, likely.made.offsets, held.id)
    for object_id in boxes:
        if object_id not in now:
            # Smaller objects will be painted in front, be they held or new.
            smaller = area_px < area_px[object_id]
            smaller[0] = False
            x0, y0, x1, y1 = box = around(boxes[object_id], None, geometry)
            hidden = smaller[labels[y0:y1, x0:x1]]
            windows[object_id] = cut_window(labels, hidden, box, object_id)
    offers += _fitted(windows, now, offers, budget_bits, geometry, choices)
    held_bits = 1.5 * len(reference)
    bought = _buy(offers, windows, now, budget_bits - held_bits, choices)
    for _ in range(_SPLICE_ROUNDS):
        current = now | {offer.id: offer for offer in bought}
        left_bits = budget_bits - held_bits - sum(offer.bits for offer in current.values())
        if left_bits < _LEAST_SPLICE_BITS:
            break
        worst = sorted(current, key=lambda k: -current[k].wrong_px / windows[k].root)
        more: list[Offer] = []
        for object_id in worst[:_MAX_REPAIRED]:
            offer = current[object_id]
            if offer.wrong_px / windows[object_id].root < choices.min_gain * 2 * HEADER_BITS:
                break
            more += splice_offers(offer, windows[object_id], geometry, choices)
        added = _buy(more, windows, current, left_bits, choices)
        offers += more
        if not added:
            break
        bought += added
    deaths = [object_id for _, object_id in sorted(gone, reverse=True)]
    return _settled(reference, offers, bought, deaths, windows, now, budget_bits, geometry, choices)


def _settled(
    reference: tuple[ContourObject, ...],
    offers: list[Offer],
    bought: list[Offer],
    deaths: list[int],
    windows: dict[int, Window],
    now: dict[int, Offer],
    budget_bits: float,
    geometry: Geometry,
    choices: EncoderChoices,
) -> tuple[FramePlan, float]:
    """A plan that fits at exact prices.

    What was bought at estimated ones is given back from the end, for good, until it fits; what is
    then left is spent once more, a few times over.
    """
    fitting: tuple[FramePlan, float] | None = None
    tries = 0
    while True:
        plan = _frame_plan(reference, deaths, bought)
        bits = _cost_bits(geometry, reference, plan)
        if bits <= budget_bits:
            fitting = plan, bits
            tries += 1
            added = _buy(
                offers,
                windows,
                now | {offer.id: offer for offer in bought},
                budget_bits - bits,
                choices,
            )
            if not added or tries == _MAX_TRIES:
                return fitting
            bought += added
        elif fitting is not None and tries == _MAX_TRIES - 1:
            return fitting
        elif bought:
            offers.remove(bought.pop())
        else:
            deaths.pop()


def _frame_plan(
    reference: tuple[ContourObject, ...], deaths: list[int], bought: list[Offer]
) -> FramePlan:
    modes = {held.id: Mode(STILL) for held in reference}
    modes.update({object_id: Mode(GONE) for object_id in deaths})
    final = {offer.id: offer for offer in bought}
    modes.update({k: offer.mode for k, offer in final.items() if offer.mode is not None})
    return FramePlan(modes, tuple(edit for offer in final.values() for edit in offer.edits))


def _fitted(
    windows: dict[int, Window],
    now: dict[int, Offer],
    motions: list[Offer],
    budget_bits: float,
    geometry: Geometry,
    choices: EncoderChoices,
) -> list[Offer]:
    """New polygons for the objects that fit worst, motion considered."""
    wrong = {k: float(now[k].wrong_px if k in now else w.area_px) for k, w in windows.items()}
    for way in motions:
        wrong[way.id] = min(wrong[way.id], way.wrong_px)
    offers: list[Offer] = []
    worst = sorted(windows, key=lambda k: -wrong[k] / windows[k].root)
    for rank, object_id in enumerate(worst[:_MAX_FITTED]):
        window = windows[object_id]
        if wrong[object_id] / window.root < choices.min_gain * 2 * HEADER_BITS:
            break
        if object_id not in now:
            if window.area_px >= choices.min_area_px:
                offers += polygon_offers(object_id, None, window, geometry, choices, budget_bits)
                blob = octagon_offer(object_id, None, window, geometry)
                offers += [] if blob is None else [blob]
        elif rank < _MAX_REPAIRED:
            held = now[object_id]
            offers += polygon_offers(object_id, held.made, window, geometry, choices, budget_bits)
            ways = [held, *(way for way in motions if way.id == object_id)]
            base = min(ways, key=lambda way: way.wrong_px)
            offers += splice_offers(base, window, geometry, choices)
            if base.wrong_px * 4 > window.area_px:
                blob = octagon_offer(object_id, held.made, window, geometry)
                offers += [] if blob is None else [blob]
    return offers


def _buy(
    offers: list[Offer],
    windows: dict[int, Window],
    now: dict[int, Offer],
    budget_bits: float,
    choices: EncoderChoices,
) -> list[Offer]:
    """Offers in the order bought, the best repair per bit first; a later one replaces an
    earlier one of the same object."""
    held = dict(now)
    bought: list[Offer] = []
    spent = 0.0
    while True:
        best, best_rate, best_extra = None, choices.min_gain, 0.0
        for offer in offers:
            before = held.get(offer.id)
            extra = offer.bits - (before.bits if before else 0.0)
            if extra <= 0 or spent + extra > budget_bits + 2:
                continue
            wrong_px = before.wrong_px if before else windows[offer.id].area_px
            rate = (wrong_px - offer.wrong_px) / windows[offer.id].root / extra
            if rate > best_rate:
                best, best_rate, best_extra = offer, rate, extra
        if best is None:
            return bought
        spent += best_extra
        held[best.id] = best
        bought.append(best)
