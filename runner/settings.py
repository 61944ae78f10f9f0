"""Where things are: resolved once, flag over environment over default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from platformdirs import user_config_path

from runner.keys import Keys, Redactor
from runner.providers import Provider, find_providers_file, load_providers


@dataclass(frozen=True, slots=True)
class Settings:
    """The state folder, the providers file, and where keys are looked for."""

    state: Path
    providers_file: Path | None
    keys: Keys
    redactor: Redactor = field(default_factory=Redactor)

    @classmethod
    def resolve(
        cls,
        env: Mapping[str, str],
        cwd: Path,
        state: Path | None = None,
        providers: Path | None = None,
        config: Path | None = None,
    ) -> Self:
        """Resolve what was given on the command line against the environment and the defaults.

        Raises:
            UsageError: the providers file that was named is not there.
        """
        config = config or user_config_path("runner", appauthor=False)
        file = find_providers_file(providers, cwd, config)
        redactor = Redactor()
        keys = Keys(
            env,
            dotenv=(file.parent if file else cwd) / ".env",
            key_file=config / "keys",
            redactor=redactor,
        )
        return cls(state or Path(env.get("RUNNER_STATE") or "state"), file, keys, redactor)

    def providers(self) -> dict[str, Provider]:
        """Presets, overridden and extended by the providers file.

        Raises:
            ManifestError: the file has mistakes.
        """
        return load_providers(self.providers_file)
