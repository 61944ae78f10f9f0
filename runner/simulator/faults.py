"""Faults: what can be made to go wrong, and which requests it happens to."""

from __future__ import annotations

import random
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from .kinds import KINDS
from .reply import Call

Arg = str | int | float | None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, on requests whose system and path match.

    `path` and `system` are globs; the path is relative to the system (`/fal-ai/*`, `/media/*`).
    `rate` is the share of matching requests that are hit, `times` how many at most. `arg` is
    explained in the table of kinds. Raises ValueError on an unknown name.
    """

    name: str
    path: str = "*"
    system: str = "*"
    rate: float = 1.0
    times: int | None = None
    arg: Arg = None

    def __post_init__(self) -> None:
        """Check the name and the numbers."""
        if self.name not in KINDS:
            raise ValueError(f"{self.name!r} is not a fault. See: runner simulate --list-faults")
        if not 0 <= self.rate <= 1 or (self.times is not None and self.times < 0):
            raise ValueError(f"fault {self.name}: rate goes from 0 to 1, times is not negative")

    @property
    def value(self) -> Arg:
        """The argument, or the kind's own default."""
        return KINDS[self.name].arg if self.arg is None else self.arg

    @property
    def number(self) -> float:
        """The argument as a number; 0 when it isn't one."""
        try:
            return float(self.value or 0)
        except ValueError:
            return 0.0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `NAME[,rate=0.1][,times=2][,path=GLOB][,system=GLOB][,arg=X]`. Raises ValueError."""
        name, *rest = text.split(",")
        options: dict[str, str] = {}
        for part in rest:
            key, equals, value = part.partition("=")
            if not equals or key not in ("rate", "times", "path", "system", "arg"):
                raise ValueError(
                    f"fault {text!r}: {part!r} is not understood. Write "
                    "NAME,rate=0.1,times=2,path=GLOB,system=GLOB,arg=X"
                )
            options[key] = value
        return cls.from_mapping({"name": name, **options})

    @classmethod
    def from_mapping(cls, document: Mapping[str, object]) -> Fault:
        """Read a mapping as it comes over HTTP or from a command line. Raises ValueError."""
        extra = set(document) - {"name", "path", "system", "rate", "times", "arg"}
        if extra or "name" not in document:
            raise ValueError(
                f"a fault has name, path, system, rate, times, arg; not {sorted(extra)}"
            )
        times, arg = document.get("times"), document.get("arg")
        try:
            return cls(
                str(document["name"]),
                str(document.get("path", "*")),
                str(document.get("system", "*")),
                float(str(document.get("rate", 1.0))),
                None if times is None else int(str(times)),
                arg if arg is None or isinstance(arg, (int, float)) else str(arg),
            )
        except ValueError as error:
            raise ValueError(f"fault {document['name']!r}: {error}") from error


class FaultBook:
    """The faults in force. The same seed and the same requests in the same order repeat a run."""

    def __init__(self, seed: int, faults: Iterable[Fault] = ()) -> None:
        """Start with `faults`; `seed` decides which requests a rate below 1 hits."""
        self._seed = seed
        self._added = 0
        self._armed: list[_Armed] = []
        self._by_name: dict[str, list[_Armed]] = {}
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Put one more fault in force."""
        rng = random.Random(f"{self._seed}/{self._added}/{fault.name}")
        self._added += 1
        times = KINDS[fault.name].times if fault.times is None else fault.times
        armed = _Armed(fault, rng, times)
        self._armed.append(armed)
        self._by_name.setdefault(fault.name, []).append(armed)

    def clear(self) -> None:
        """Take every fault out of force."""
        self._armed.clear()
        self._by_name.clear()

    def fires(self, name: str, call: Call) -> Fault | None:
        """Return the fault of this name that hits this request, if one does, and count it."""
        return _hit(self._by_name.get(name, ()), call)

    def first(self, names: Container[str], call: Call) -> Fault | None:
        """Return the fault out of `names` that hits this request, the longest in force first."""
        return _hit((armed for armed in self._armed if armed.fault.name in names), call)

    def listing(self) -> list[dict[str, object]]:
        """Everything in force, with how often it fired."""
        return [{**asdict(item.fault), "fired": item.fired} for item in self._armed]


class _Armed:
    """A fault with its counter and its own dice."""

    __slots__ = ("fault", "fired", "left", "rng")

    def __init__(self, fault: Fault, rng: random.Random, times: int | None) -> None:
        self.fault, self.rng, self.left, self.fired = fault, rng, times, 0

    def hits(self, system: str, path: str) -> bool:
        """Throw the dice if system and path match and some are left."""
        fault = self.fault
        if self.left == 0 or not fnmatchcase(system, fault.system):
            return False
        if not fnmatchcase(path, fault.path):
            return False
        if fault.rate < 1 and self.rng.random() >= fault.rate:
            return False
        self.fired += 1
        if self.left is not None:
            self.left -= 1
        return True


def _hit(candidates: Iterable[_Armed], call: Call) -> Fault | None:
    """Return the first of the candidates that hits, and note its name in the call."""
    for armed in candidates:
        if armed.hits(call.system.name, call.path):
            call.faults.append(armed.fault.name)
            return armed.fault
    return None
