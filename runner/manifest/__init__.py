"""The manifest: what the user wrote, checked, and made into jobs. Pure: it reads files and nothing else."""

from runner.manifest.expand import expand
from runner.manifest.item import Draft, Where
from runner.manifest.manifest import Manifest, count, load
from runner.manifest.spec import schema

__all__ = ["Draft", "Manifest", "Where", "count", "expand", "load", "schema"]
