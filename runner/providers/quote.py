"""What a seller charges for one job of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.budget import Money
from runner.providers.model import default_seconds
from runner.providers.provider import Provider


def price(provider: Provider, model: str, params: Mapping[str, Any]) -> Money | None:
    """Price a job; None where the provider's price or the clip's length is not known."""
    found = provider.prices.get(model.strip("/"))
    return None if found is None else found.of(params, default_seconds(model, params))
