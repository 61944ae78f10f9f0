"""Rewrites the parts of the documentation that are made from the code; `--check` only says which are out of date.

A part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`. The text around it is written by hand.
"""
# ruff: noqa: INP001 - a script, not a package

from __future__ import annotations

import ast
import re
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import typer

import runner
from runner import events
from runner.causes import Cause
from runner.cli import app
from runner.errors import ManifestError
from runner.job import TRANSITIONS, State
from runner.manifest import expand, load, schema
from runner.providers import Provider, Traits, known_models, presets
from runner.simulator import KINDS
from runner.simulator.cli import app as simulate

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(<!-- generated: ([a-z-]+)(?: (\S+))? -->\n).*?(<!-- /generated -->)", re.DOTALL)
FILE = re.compile(r"<!-- file: (\S+) -->\n+```\w+\n(.*?)```", re.DOTALL)
NOW = 1_800_000_000.0

LAYERS = (
    "What everybody may use",
    "Values and arithmetic: nothing here waits or touches the outside",
    "What the user declares",
    "The edges: memory, time, network, disk",
    "What to do with a job in a state",
    "When",
    "Put together; read",
    "What people touch",
)

MISTAKES = (
    ("nmae: first\nprompts: [a boat]", "a mistyped name"),
    ("prompts:\n  - A lord: he walks", "a prompt with a colon, not quoted"),
    ("prompts:\n  - A ${{ lord }} walks", "a variable that nothing sets"),
    ("vars: {film: 35mm}\nprompts: [a boat]", "a variable that nothing uses"),
    ("prompts: [a boat]\nbudget: 25", "a budget without a currency"),
    ("prompts: [a boat]\nlimits: {submits: fast}", "a rate that is none"),
    ("prompts: [a boat]\nduration: 5", "a field of the request at the top level"),
    ("prompts: [a boat]\nbase_url: https://evil.example", "an address in a manifest"),
    ("prompts: [a boat]\nparams: {image_url: ../secret.png}", "a picture outside the manifest's folder"),
    ("prompts: [a, b]\noutput: same", "two jobs that write one file"),
    ("prompts: [a boat]\noutput: ${{ id }}.mp4", "an extension that nobody knows yet"),
    ("prompts: ['${{ a }}${{ b }}']\nmatrix: {a: [1, 2], b: [3]}\nmatrix: {a: [1]}", "a name that stands twice"),
)


def states(_page: str, _name: str) -> str:
    """The state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    for state, table in TRANSITIONS.items():
        arrows: dict[State, list[str]] = {}
        for event, target in table.items():
            arrows.setdefault(target, []).append(event.__name__)
        lines += [f"    {state} --> {target}: {', '.join(names)}" for target, names in arrows.items()]
    return "\n".join([*lines, "    done --> [*]", "```"])


def happenings(_page: str, _name: str) -> str:
    """The events."""
    rows = [(f"`{kind.__name__}`", first_line(kind.__doc__)) for kind in get_args(events.Event)]
    return table(("event", "what was learned"), rows)


def causes(_page: str, _name: str) -> str:
    """Every cause with its explanation and what to type."""
    rows = []
    for cause in Cause:
        weight = "4" if cause.needs_person else "6" if cause.refused else ""
        rows.append((f"`{cause}`", cause.explanation, cause.fix, weight))
    return table(("cause", "what it means", "what to do", "exit"), rows)


def modules(_page: str, _name: str) -> str:
    """Every module of the package, by layer, in its own words."""
    parts = []
    for title, names in zip((*LAYERS, "The witness: imports nothing of the above"), rows_of_layers(), strict=True):
        parts.append(f"**{title}**\n")
        for path in package_files():
            label = path.relative_to(Path(runner.__file__).parent).with_suffix("").as_posix()
            if label.split("/", maxsplit=1)[0] in names:
                parts.append(f"- `{label}` {first_line(ast.get_docstring(ast.parse(path.read_text('utf-8'))))}")
        parts.append("")
    return "\n".join(parts).rstrip()


def views(_page: str, _name: str) -> str:
    """The views of the database and their columns."""
    connection = sqlite3.connect(":memory:")
    for script in sorted((files("runner.store") / "migrations").iterdir(), key=lambda item: item.name):
        connection.executescript(script.read_text("utf-8"))
    query = "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name"
    rows = []
    for (name,) in connection.execute(query).fetchall():
        columns = [column[1] for column in connection.execute(f"PRAGMA table_info({name})").fetchall()]
        rows.append((f"`{name}`", ", ".join(columns)))
    connection.close()
    return table(("view", "columns"), rows)


def commands(_page: str, _name: str) -> str:
    """The command line."""
    group: Any = typer.main.get_command(app)
    parts = ["Before or after any command:\n", table(("option", "meaning"), options(group))]
    for name, command in group.commands.items():
        if name == "simulate":
            command = typer.main.get_command(simulate)
        arguments = [param.metavar or param.name for param in command.params if param.param_type_name == "argument"]
        summary = re.split(r"\n\s*\n", (command.help or "").strip())[0].replace("\n", " ")
        parts.append(f"**`runner {' '.join([name, *arguments])}`** {summary}")
        rows = options(command)
        if rows:
            parts.append(table(("option", "meaning"), rows))
    return "\n\n".join(parts)


def options(command: Any) -> list[tuple[str, ...]]:
    """The options of a command, with their help."""
    rows = []
    for param in command.params:
        names = [*param.opts, *param.secondary_opts]
        if param.param_type_name != "option" or "--help" in names:
            continue
        value = f" {param.metavar}" if param.metavar and not param.is_flag else ""
        rows.append((", ".join(f"`{name}{value}`" for name in names), " ".join((param.help or "").split())))
    return rows


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
    same = {name for name in found[0].params if len({str(spec.params.get(name)) for spec in found}) == 1}
    rows = []
    for spec in found:
        rest = ", ".join(f"{key}: {value}" for key, value in spec.params.items() if key not in {"prompt", *same})
        rows.append((spec.prompt, f"`{rest}`" if rest else "", f"`{spec.output.removesuffix('${{ ext }}')}*`"))
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
        (f"`{each.name}`", f"`{each.base_url}`" if each.base_url else "yours to write", _key(each), _protocols(each))
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
        name for name, traits in (("fal queue", provider.fal), ("Kling", provider.kling)) if traits != Traits()
    )


def systems(_page: str, _name: str) -> str:
    """Every provider with its example."""
    rows = []
    for each in presets().values():
        examples = [path for path in sorted((ROOT / "jobs").glob("*.yaml")) if f"provider: {each.name}\n" in path.read_text("utf-8")]
        names = " and ".join(f"`{name}`" for name in (each.auth.env, each.auth.secret_env) if name)
        links = ", ".join(f"[{path.stem}](jobs/{path.name})" for path in examples)
        rows.append((f"`{each.name}`", each.base_url.partition("//")[2] or "yours to write", names or "none", links))
    return table(("provider", "host", "key in", "example"), rows)


def traits(_page: str, _name: str) -> str:
    """The traits of a seller's protocol, and what the presets set."""
    source = ast.parse((Path(runner.__file__).parent / "providers" / "provider.py").read_text("utf-8"))
    body = next(node.body for node in source.body if isinstance(node, ast.ClassDef) and node.name == "Traits")
    rows = []
    for node, text in zip(body, body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            name = ast.unparse(node.target)
            rows.append((f"`{name}`", str(text.value.value), _default(getattr(Traits(), name)), _who(name)))
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
            rows.append((each.name, f"`{model}`", f"{amount} {price.currency} a {unit}", price.source, price.date))
    return table(("provider", "model", "price", "source", "as of"), rows)


def models(_page: str, _name: str) -> str:
    """The models whose fields are checked."""
    return "\n".join(f"- `{path}`" for path in known_models())


def faults(_page: str, _name: str) -> str:
    """What the simulator can be told to do wrong."""
    rows = [(f"`{kind.name}`", kind.on, kind.help, "" if kind.arg is None else str(kind.arg)) for kind in KINDS.values()]
    return table(("fault", "where", "what happens", "default of ARG"), rows)


BLOCKS: dict[str, Callable[[str, str], str]] = {
    "states": states, "events": happenings, "causes": causes, "modules": modules, "views": views,
    "commands": commands, "keys": keys, "jobs": jobs, "mistakes": mistakes, "providers": providers, "systems": systems,
    "traits": traits, "prices": prices, "models": models, "faults": faults,
}  # fmt: skip


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    cells = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().split("\n", maxsplit=1)[0]


def package_files() -> list[Path]:
    """Every module of the package."""
    return sorted(path for path in Path(runner.__file__).parent.rglob("*.py") if "__pycache__" not in path.parts)


def rows_of_layers() -> list[tuple[str, ...]]:
    """The rows that tests/test_layers.py enforces, and the simulator."""
    for node in ast.parse((ROOT / "tests" / "test_layers.py").read_text("utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "ROWS" and node.value is not None:
            return [*ast.literal_eval(node.value), ("simulator",)]
    raise AssertionError("tests/test_layers.py has no ROWS")


def fresh(page: str) -> str:
    """A page with its generated parts as they should be."""
    return BLOCK.sub(
        lambda found: f"{found[1]}{BLOCKS[found[2]](page, found[3] or '')}\n{found[4]}", page
    )


def main(arguments: list[str]) -> int:
    """Rewrite the pages, or with `--check` return 1 where one is out of date."""
    stale = [path for path in PAGES if fresh(text := path.read_text("utf-8")) != text]
    for path in stale:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if "--check" not in arguments:
            path.write_text(fresh(path.read_text("utf-8")), encoding="utf-8", newline="\n")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
