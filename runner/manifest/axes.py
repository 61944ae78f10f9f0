"""`matrix:` as it is written: its axes, its combinations, and who lacks what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from runner.manifest.complaints import did_you_mean
from runner.manifest.marks import Node, plain
from runner.manifest.matrix import Combination, MatrixTooLarge, combinations
from runner.manifest.names import check_names
from runner.manifest.reading import Reading
from runner.wire import excerpt

_NOTHING: tuple[Combination, ...] = ({},)


@dataclass(frozen=True, slots=True)
class Axes:
    """The matrix: its combinations, and the place of every name that it gives a value."""

    combinations: Sequence[Combination] = _NOTHING
    axes: frozenset[str] = frozenset()
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    include: Sequence[Combination] = ()

    def gaps(self, defaults: Mapping[str, Any]) -> dict[str, str | None]:
        """For each name: a combination in which it has no value, in words; None where it always has one."""
        found: dict[str, str | None] = dict.fromkeys(self.places)
        if not self.include:
            return found
        for name in found:
            if name not in defaults:
                lacking = (one for one in self.combinations if name not in one)
                found[name] = next((in_words(one) for one in lacking), None)
        return found

    def selects(self, name: str, used: Set[str]) -> bool:
        """Whether an axis is used by choosing which values an include adds."""
        return name in self.axes and any(
            name in entry and any(other in used for other in entry if other != name)
            for entry in self.include
        )


def in_words(combination: Combination) -> str:
    """`lord=noble, ratio=16:9`."""
    return excerpt(
        ", ".join(f"{name}={value}" for name, value in combination.items()) or "no axis is set", 80
    )


def read_axes(reading: Reading, node: Node | None, cap: int) -> Axes:
    """Multiply the matrix; what is wrong with it goes to `reading`."""
    if node is None or not isinstance(node.value, dict):
        return Axes()
    special = ("include", "exclude")
    axes = {name: one for name, one in node.value.items() if name not in special}
    check_names(reading, node._replace(value=axes), "axis")
    places = {name: node.keys[name] for name in axes}
    include, exclude = (_entries(node.get(name)) for name in special)
    for entry in include:
        check_names(reading, entry, "variable")
        places = {**entry.keys, **places}
    _check_exclude(reading, exclude, axes)
    written = {
        name: plain(one) for name, one in axes.items() if isinstance(one.value, list) and one.value
    }
    added = [plain(entry) for entry in include]
    try:
        found = combinations(written, added, [plain(entry) for entry in exclude], cap)
    except MatrixTooLarge as error:
        reading.complain((node.line, node.column), f"matrix: {error}")
        found = list(_NOTHING)
        return Axes(found, frozenset(axes), places)
    if not found:
        reading.complain(
            (node.line, node.column), "matrix: no combination is left. Remove an exclude"
        )
        found = list(_NOTHING)
        added = []
    return Axes(found, frozenset(axes), places, added)


def _entries(node: Node | None) -> list[Node]:
    entries = node.value if node is not None and isinstance(node.value, list) else []
    return [entry for entry in entries if isinstance(entry.value, dict)]


def _check_exclude(reading: Reading, exclude: Sequence[Node], axes: Mapping[str, Node]) -> None:
    for entry in exclude:
        for name in entry.value:
            if name not in axes:
                meant = did_you_mean(name, axes)
                hint = f"Did you mean {meant}?" if meant else "Write the name of an axis"
                reading.complain(
                    entry.keys[name], f"exclude: {excerpt(name, 40)} is no axis. {hint}"
                )
        for name, one in entry.value.items():
            values = plain(axes[name]) if name in axes else None
            if isinstance(values, list) and plain(one) not in values:
                reading.complain(
                    (one.line, one.column),
                    f"exclude: the axis {name} has no value {excerpt(str(plain(one)), 40)}. Write one of its values",
                )
