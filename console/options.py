"""What the page may offer: schemes, rungs, models by name, limits."""

from __future__ import annotations

from console.convert import JsonDict
from console.request import SLIDER_DB_MAX, SLIDER_DB_MIN, SessionRequest
from console.settings import ConsoleSettings
from console.uploads import VIDEO_SUFFIXES
from semcast.air.ladder import LADDER
from semcast.generators import AUTO, GENERATORS
from semcast.hub import HUB_MODELS, HubUse
from semcast.schemes import SCHEMES
from semcast.version import __version__

# Classical links: what the others are compared with at the same CBR.
_BASELINE_SUFFIXES = ("-ldpc", "-amc")


def _hub_names(use: HubUse) -> list[str]:
    return [model.name for model in HUB_MODELS.values() if model.use is use]


def page_options(settings: ConsoleSettings) -> JsonDict:
    """The body of GET /api/v1/options."""
    return {
        "version": __version__,
        "schemes": [
            {
                "id": scheme.id,
                "title": scheme.title,
                "default_cbr": scheme.default_cbr,
                "baseline": scheme.id.endswith(_BASELINE_SUFFIXES),
                "modalities": [modality.label for modality in scheme.modalities],
            }
            for scheme in SCHEMES.values()
        ],
        "mcs": ["default", "auto", *(rung.id for rung in LADDER)],
        "generators": [
            {"name": AUTO, "title": "Auto: the best for the scheme"},
            *({"name": info.name, "title": info.title} for info in GENERATORS.values()),
        ],
        # "" is the bundled one; of captioners the one that is installed, if any.
        "segmenters": ["", *_hub_names(HubUse.SEGMENTER)],
        "sketchers": ["", "pidinet"],
        "captioners": ["", "none", *_hub_names(HubUse.CAPTIONER)],
        "channels": ["awgn", "rayleigh", "burst"],
        "snr_db": {"min": SLIDER_DB_MIN, "max": SLIDER_DB_MAX, "step": 0.5},
        "max_upload_bytes": settings.max_upload_bytes,
        "upload_suffixes": list(VIDEO_SUFFIXES),
        "ice_servers": [server.model_dump(exclude_none=True) for server in settings.ice_servers],
        "session_schema": SessionRequest.model_json_schema(),
    }
