"""What is declared (manifest, providers, models, the simulator's faults), as Markdown for the documentation.

A function is given the page that its part stands on, and the word that follows the part's name there.
"""
# ruff: noqa: INP001 - beside a script, not in a package

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import runner
from runner.errors import ManifestError
from runner.manifest import expand, load, schema
from runner.providers import Provider, Traits, known_models, presets
from runner.simulator import KINDS

ROOT = Path(__file__).parent.parent
FILE = re.compile(r"<!-- file: (\S+) -->\n+```\w+\n(.*?)```", re.DOTALL)
NOW = 1_800_000_000.0

MISTAKES = (
    ("nmae: first\nprompts: [a boat]", "a mistyped name"),
    ("prompts:\n  - A lord: he walks", "a prompt with a colon, not quoted"),
    ("prompts:\n  - A ${{ lord }} walks", "a variable that nothing sets"),
    ("vars: {film: 35mm}\nprompts: [a boat]", "a variable that nothing uses"),
    ("prompts: [a boat]\nbudget: 25", "a budget without a currency"),
    ("prompts: [a boat]\nlimits: {submits: fast}", "a rate that is none"),
    ("prompts: [a boat]\nduration: 5", "a field of the request at the top level"),
    ("prompts: [a boat]\nbase_url: https://evil.example", "an address in a manifest"),
    (
        "prompts: [a boat]\nparams: {image_url: ../secret.png}",
        "a picture outside the manifest's folder",
    ),
    ("prompts: [a, b]\noutput: same", "two jobs that write one file"),
    ("prompts: [a boat]\noutput: ${{ id }}.mp4", "an extension that nobody knows yet"),
    (
        "prompts: ['${{ a }}${{ b }}']\nmatrix: {a: [1, 2], b: [3]}\nmatrix: {a: [1]}",
        "a name that stands twice",
    ),
)


def keys(_page: str, _name: str) -> str:
    """The keys of a manifest, from the schema that editors read."""
    whole = schema()
    parts = [_keys("At the top", whole, whole["required"])]
    titles = (("ItemSpec", "In an item of `prompts:`"), ("MatrixSpec", "In `matrix:`, beside the axes"),
              ("LimitsSpec", "In `limits:`"))  # fmt: skip
    parts += [_keys(title, whole["$defs"][name], ()) for name, title in titles]
    return "\n\n".join(parts)


def _keys(title: str, part: Mapping[str, Any], required: Any) -> str:
    rows = [
        (f"`{name}`" + (" (required)" if name in required else ""), facts.get("description", ""))
        for name, facts in part["properties"].items()
    ]
    return f"{title}:\n\n{table(('key', 'meaning'), rows)}"


def jobs(page: str, name: str) -> str:
    """The jobs that a manifest of this page makes."""
    with tempfile.TemporaryDirectory() as folder:
        for file, text in FILE.findall(page):
            (Path(folder) / file).write_text(text, "utf-8")
        found = [draft.spec for draft in expand(load(Path(folder) / name, now=NOW))]
    same = {
        name for name in found[0].params if len({str(spec.params.get(name)) for spec in found}) == 1
    }
    rows = []
    for spec in found:
        rest = ", ".join(
            f"{key}: {value}" for key, value in spec.params.items() if key not in {"prompt", *same}
        )
        rows.append(
            (
                spec.prompt,
                f"`{rest}`" if rest else "",
                f"`{spec.output.removesuffix('${{ ext }}')}*`",
            )
        )
    return f"It makes {len(rows)} jobs:\n\n" + table(("prompt", "fields that differ", "file"), rows)


def mistakes(_page: str, _name: str) -> str:
    """What is said about mistakes."""
    head = "version: 1\nprovider: fal\nmodel: fal-ai/kling-video/v2.5-turbo/pro/text-to-video\n"
    parts = []
    for text, title in MISTAKES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.yaml"
            path.write_text(f"{head}{text}\n", "utf-8")
            said = "\n".join(_complaints(path)).replace(f"{folder}/", "")
        parts.append(f"{title[0].upper()}{title[1:]}:\n\n```text\n{text}\n\n→ {said}\n```")
    return "\n\n".join(parts)


def _complaints(path: Path) -> Iterator[str]:
    try:
        list(expand(load(path, now=NOW)))
    except ManifestError as error:
        yield from map(str, error.problems)
    else:
        raise AssertionError(f"no mistake in {path.read_text('utf-8')!r}")


def providers(_page: str, _name: str) -> str:
    """The presets."""
    rows = [
        (
            f"`{each.name}`",
            f"`{each.base_url}`" if each.base_url else "yours to write",
            _key(each),
            _protocols(each),
        )
        for each in presets().values()
    ]
    return table(("name", "base URL", "key", "protocols"), rows)


def _key(provider: Provider) -> str:
    auth = provider.auth
    if not auth.needs_key:
        return "none"
    names = " and ".join(f"`{name}`" for name in (auth.env, auth.secret_env) if name)
    return f"{names}, sent as `Authorization: {'Bearer' if auth.minted else auth.scheme} …`"


def _protocols(provider: Provider) -> str:
    return ", ".join(
        name
        for name, traits in (("fal queue", provider.fal), ("Kling", provider.kling))
        if traits != Traits()
    )


def systems(_page: str, _name: str) -> str:
    """Every provider with its example."""
    rows = []
    for each in presets().values():
        examples = [
            path
            for path in sorted((ROOT / "jobs").glob("*.yaml"))
            if f"provider: {each.name}\n" in path.read_text("utf-8")
        ]
        names = " and ".join(f"`{name}`" for name in (each.auth.env, each.auth.secret_env) if name)
        links = ", ".join(f"[{path.stem}](jobs/{path.name})" for path in examples)
        rows.append(
            (
                f"`{each.name}`",
                each.base_url.partition("//")[2] or "yours to write",
                names or "none",
                links,
            )
        )
    return table(("provider", "host", "key in", "example"), rows)


def traits(_page: str, _name: str) -> str:
    """The traits of a seller's protocol, and what the presets set."""
    source = ast.parse(
        (Path(runner.__file__).parent / "providers" / "provider.py").read_text("utf-8")
    )
    body = next(
        node.body
        for node in source.body
        if isinstance(node, ast.ClassDef) and node.name == "Traits"
    )
    rows = []
    for node, text in pairwise(body):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            name = ast.unparse(node.target)
            rows.append(
                (f"`{name}`", str(text.value.value), _default(getattr(Traits(), name)), _who(name))
            )
    return table(("trait", "meaning", "default", "presets that differ"), rows)


def _who(name: str) -> str:
    found = []
    for each in presets().values():
        for protocol, values in (("fal", each.fal), ("kling", each.kling)):
            if values != Traits() and getattr(values, name) != getattr(Traits(), name):
                found.append(f"{each.name}.{protocol}: {_default(getattr(values, name))}")
    return "; ".join(found)


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "unknown" if value is None else f"{value:g} s"


def prices(_page: str, _name: str) -> str:
    """The prices that are known without a providers file."""
    rows = []
    for each in presets().values():
        for model, price in sorted(each.prices.items()):
            amount, unit = next(
                (value, unit)
                for unit in ("second", "job", "image")
                if (value := getattr(price, f"per_{unit}")) is not None
            )
            rows.append(
                (
                    each.name,
                    f"`{model}`",
                    f"{amount} {price.currency} a {unit}",
                    price.source,
                    price.date,
                )
            )
    return table(("provider", "model", "price", "source", "as of"), rows)


def models(_page: str, _name: str) -> str:
    """The models whose fields are checked."""
    return "\n".join(f"- `{path}`" for path in known_models())


def faults(_page: str, _name: str) -> str:
    """What the simulator can be told to do wrong."""
    rows = [
        (f"`{kind.name}`", kind.on, kind.help, "" if kind.arg is None else str(kind.arg))
        for kind in KINDS.values()
    ]
    return table(("fault", "where", "what happens", "default of ARG"), rows)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    cells = [
        head,
        tuple("---" for _ in head),
        *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows),
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)
