"""Loads one part of a hub model, from the local cache unless downloads are allowed."""

from __future__ import annotations

from typing import Any

from semcast.metrics.weights import HubModel, MetricUnavailableError, MetricWeights


def load_from_hub(part: Any, model: HubModel, weights: MetricWeights, **options: Any) -> Any:
    """`part.from_pretrained` at the pinned revision.

    part: a class of transformers (model, processor, tokenizer).
    Raises MetricUnavailableError with the reason where the files are missing or unusable.
    """
    try:
        return part.from_pretrained(
            model.name,
            revision=model.revision,
            cache_dir=weights.hub_cache,
            local_files_only=not weights.allow_downloads,
            **options,
        )
    except (OSError, ValueError) as error:
        how = (
            "could not be loaded from the hub"
            if weights.allow_downloads
            else "is not in the local hub cache: set SEMCAST_ALLOW_DOWNLOADS=1 to fetch it"
        )
        raise MetricUnavailableError(f"{model.name} {how}") from error
