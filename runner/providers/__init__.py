"""Who sells clips, and how to speak to them: providers are data, dialects are conversations without I/O."""

from __future__ import annotations

from runner.errors import UsageError
from runner.providers.checks import Finding, normalise
from runner.providers.fal import Fal
from runner.providers.file import find_providers_file, load_providers, presets
from runner.providers.kling import Kling
from runner.providers.model import (
    default_seconds,
    find_model,
    image_fields,
    image_limits,
    known_models,
)
from runner.providers.patience import retry_after
from runner.providers.provider import Auth, Dialect, Order, Provider, Traits
from runner.providers.quote import price
from runner.providers.rules import check

__all__ = [
    "Auth",
    "Dialect",
    "Fal",
    "Finding",
    "Kling",
    "Order",
    "Provider",
    "Traits",
    "check",
    "default_seconds",
    "dialect_for",
    "find_model",
    "find_providers_file",
    "image_fields",
    "image_limits",
    "known_models",
    "load_providers",
    "normalise",
    "presets",
    "price",
    "retry_after",
    "speaks_kling",
]


def speaks_kling(model: str) -> bool:
    """Whether a model's path belongs to Kling's task protocol; all other paths belong to the fal queue."""
    return model.strip("/").split("/")[0] in ("kling", "v1")


def dialect_for(provider: Provider, model: str) -> Dialect:
    """Return the dialect that a model's path selects.

    Raises:
        UsageError: nobody has said yet where the provider is.
    """
    if not provider.base_url:
        raise UsageError(
            f"the provider {provider.name} has no address. Write into providers.yaml:\n"
            f"providers:\n  {provider.name}:\n    base_url: https://your-gateway.example"
        )
    return Kling(provider) if speaks_kling(model) else Fal(provider)
