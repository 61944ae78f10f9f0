"""The combinations of a matrix, with GitHub Actions' meaning of include and exclude.

The axes are multiplied in written order, the first one slowest. `exclude` then removes every combination that agrees
with all its entries. Then each `include` adds its entries to every combination of the axes where it overwrites no
value of an axis (it may overwrite what an earlier include added); where it fits none, it is a combination of its own,
which later includes leave alone. These are the rules as documented by GitHub.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

MAX_COMPARISONS = 2_000_000

Combination = Mapping[str, Any]


class MatrixTooLarge(ValueError):
    """The product of the axes, or the work for include and exclude, is out of bounds."""


def product_size(axes: Mapping[str, Sequence[Any]]) -> int:
    """How many combinations the axes have, before anything is built."""
    return math.prod(len(values) for values in axes.values()) if axes else 0


def combinations(
    axes: Mapping[str, Sequence[Any]],
    include: Sequence[Combination],
    exclude: Sequence[Combination],
    cap: int,
) -> list[Combination]:
    """All combinations in order; a matrix without any axis or include has one, which is empty.

    Raises:
        MatrixTooLarge: more than `cap`; nothing was built.
    """
    if not axes and not include:
        return [{}]
    size = product_size(axes)
    if size > cap:
        raise MatrixTooLarge(
            f"the axes multiply to {size:,} combinations, more than {cap:,}. Use fewer values, or raise --max-jobs"
        )
    if size * (len(include) + len(exclude)) > MAX_COMPARISONS:
        raise MatrixTooLarge(
            f"{len(include) + len(exclude):,} includes and excludes over {size:,} combinations are too many. Use fewer"
        )
    products = itertools.product(*axes.values()) if axes else ()
    originals = [dict(zip(axes, values, strict=True)) for values in products]
    originals = [one for one in originals if not any(_agrees(one, out) for out in exclude)]
    return _extended(originals, axes, include)


def _extended(
    originals: list[dict[str, Any]], axes: Mapping[str, Any], include: Sequence[Combination]
) -> list[Combination]:
    extended = [dict(one) for one in originals]
    added: list[Combination] = []
    for entry in include:
        own = {name: value for name, value in entry.items() if name in axes}
        fits = [at for at, one in enumerate(originals) if _agrees(one, own)]
        for at in fits:
            extended[at].update(entry)
        if not fits:
            added.append(dict(entry))
    return [*extended, *added]


def _agrees(one: Combination, part: Combination) -> bool:
    return all(name in one and _same(one[name], value) for name, value in part.items())


def _same(one: Any, other: Any) -> bool:
    """Equal, with `true` and `1` kept apart."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
