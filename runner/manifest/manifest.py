"""From a file to a manifest: everything that is wrong with it, at once."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.budget import Money
from runner.errors import ManifestError, Problem
from runner.limits import Limits, Rate, parse_duration
from runner.manifest.axes import Axes, read_axes
from runner.manifest.complaints import check_shape
from runner.manifest.document import MAX_BYTES, read_yaml
from runner.manifest.entries import Entries
from runner.manifest.images import Images
from runner.manifest.item import Item
from runner.manifest.marks import Node, plain
from runner.manifest.names import check_names
from runner.manifest.reading import Reading, Scope
from runner.manifest.spec import LimitsSpec, ManifestSpec
from runner.template import TemplateError
from runner.wire import excerpt

INLINE_CAP = 100_000
TOTAL_CAP = 1_000_000

_NAME = re.compile(r"\w[\w .-]{0,99}")
_USE = re.compile(r"\$\{\{\s*([^\s{}]+)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest without mistakes.

    `timeout` is in seconds; `digest` the SHA-256 of the file's bytes; `variables` and `items` are what `expand` needs,
    `cap` how many jobs it may make. `images` remembers the pictures that were already read.
    """

    name: str
    provider: str
    model: str
    budget: Money | None
    on_doubt: str
    timeout: float | None
    limits: Limits
    warnings: tuple[Problem, ...]
    path: Path
    digest: str
    variables: Mapping[str, Any]
    items: tuple[Item, ...]
    images: Images
    cap: int


def load(path: Path, *, now: float, cap: int | None = None) -> Manifest:
    """Read and check a manifest.

    `now` (Unix seconds) gives `${{ date }}` and `${{ time }}`, in local time. `cap` limits the number of jobs (100,000
    written out in the file, 1,000,000 from files of rows).

    Raises:
        ManifestError: everything that is wrong with it.
    """
    data = _read(path)
    file = str(path)
    broken: list[Problem] = []
    root = _without_extras(read_yaml(data, file, found=broken))
    reading = Reading(file, Images(path.parent))
    spec, misshapen = check_shape(plain(root), root, file)
    reading.add(*broken, *misshapen)
    clock = _clock(now)
    name = _name(reading, root, path, clock)
    axes = read_axes(reading, root.get("matrix"), cap or INLINE_CAP)
    top = root.get("vars")
    variables = plain(top) if top is not None and isinstance(top.value, dict) else {}
    check_names(reading, top, "variable")
    entries = Entries(reading, root, path, variables, axes.combinations, axes.gaps(variables))
    items = entries.read_all()
    _check_count(reading, root, items, cap or INLINE_CAP)
    if entries.complete:
        _check_use(reading, top, axes, data if broken else b"")
    if spec is None or reading.problems:
        raise ManifestError(reading.problems)
    return _manifest(
        spec,
        name=name,
        warnings=reading.warnings,
        path=path,
        digest=hashlib.sha256(data).hexdigest(),
        variables={**variables, **clock, "batch": name},
        items=tuple(items),
        images=reading.images,
        cap=cap or TOTAL_CAP,
    )


def count(manifest: Manifest) -> int:
    """At most how many jobs `expand` makes, without making them."""
    return sum(item.bound for item in manifest.items)


def _manifest(spec: ManifestSpec, **found: Any) -> Manifest:
    limits = spec.limits or LimitsSpec.model_validate({})
    return Manifest(
        provider=spec.provider,
        model=spec.model,
        budget=None if spec.budget is None else Money.parse(str(spec.budget)),
        on_doubt=spec.on_doubt,
        timeout=None if spec.timeout is None else parse_duration(spec.timeout),
        limits=Limits(
            submits=None if limits.submits is None else Rate.parse(str(limits.submits)),
            in_flight=limits.in_flight,
            requests=None if limits.requests is None else Rate.parse(str(limits.requests)),
        ),
        **found,
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        message = "there is no such file. Check the name, or make one with: runner init"
    except IsADirectoryError:
        message = "this is a folder. Name the manifest in it"
    except OSError as error:
        message = f"can't be read: {error.strerror}. Check its permissions"
    raise ManifestError([Problem(str(path), 0, 0, message)])


def _without_extras(root: Node) -> Node:
    if not isinstance(root.value, dict):
        return root
    return root._replace(
        value={name: node for name, node in root.value.items() if not name.startswith("x-")}
    )


def _clock(now: float) -> dict[str, str]:
    moment = datetime.fromtimestamp(now, UTC).astimezone()
    return {"date": f"{moment:%Y-%m-%d}", "time": f"{moment:%H-%M-%S}"}


def _name(reading: Reading, root: Node, path: Path, clock: Mapping[str, str]) -> str:
    node = root.get("name")
    if node is None or node.value is None:
        stem = re.sub(r"[^\w .-]+", "-", unicodedata.normalize("NFC", path.stem)).strip(" .-")
        return stem[:100] or "batch"
    if not isinstance(node.value, str):
        return ""
    template = reading.template(node, Scope(frozenset(clock)))
    if template is None:
        return ""
    try:
        name = unicodedata.normalize("NFC", template.text(clock))
    except TemplateError:
        return ""  # an unknown variable, which `template` has complained about
    if not _NAME.fullmatch(name) or name != name.rstrip(" ."):
        shown = excerpt(name, 60)
        reading.complain(
            root.place("name"),
            f"name: {shown!r} can't name a folder everywhere. Use at most 100 letters, digits, spaces, . _ and -",
        )
    return name


def _check_count(reading: Reading, root: Node, items: Sequence[Item], cap: int) -> None:
    total = sum(item.bound for item in items if item.source is None)
    if total > cap:
        reading.complain(
            root.place("prompts"),
            f"{total:,} jobs are written here, more than {cap:,}. Use fewer, or raise --max-jobs",
        )


def _check_use(reading: Reading, top: Node | None, axes: Axes, broken: bytes) -> None:
    """Complain about variables and axes that nothing uses: mostly a name that was mistyped elsewhere.

    Of what stands twice in a `broken` file only the first was read, and the second may use what the first doesn't.
    """
    reading.used.update(_USE.findall(broken.decode("utf-8", "replace")))
    unused = dict(top.keys) if top is not None and isinstance(top.value, dict) else {}
    for kind, names in (("variable", unused), ("axis", axes.places)):
        for name, place in names.items():
            if name not in reading.used and not (
                kind == "axis" and axes.selects(name, reading.used)
            ):
                shown = excerpt(name, 40)
                reading.complain(
                    place,
                    f"nothing uses the {kind} {shown}. Write ${{{{ {shown} }}}} where it belongs, or remove it",
                )
