"""The parts of the documentation that are made from the code, as Markdown: those of the program, and the list of all.

A function is given the page that its part stands on, and the word that follows the part's name there.
"""
# ruff: noqa: INP001 - beside a script, not in a package

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import declared
import typer
from declared import ROOT, table

import runner
from runner import events
from runner.causes import Cause
from runner.cli import app
from runner.job import TRANSITIONS, State
from runner.simulator.cli import app as simulate

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


def states(_page: str, _name: str) -> str:
    """The state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    for state, row in TRANSITIONS.items():
        arrows: dict[State, list[str]] = {}
        for event, target in row.items():
            arrows.setdefault(target, []).append(event.__name__)
        lines += [
            f"    {state} --> {target}: {', '.join(names)}" for target, names in arrows.items()
        ]
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
    for title, names in zip(
        (*LAYERS, "The witness: imports nothing of the above"), rows_of_layers(), strict=True
    ):
        parts.append(f"**{title}**\n")
        for path in package_files():
            label = path.relative_to(Path(runner.__file__).parent).with_suffix("").as_posix()
            if label.split("/", maxsplit=1)[0] in names:
                parts.append(
                    f"- `{label}` {first_line(ast.get_docstring(ast.parse(path.read_text('utf-8'))))}"
                )
        parts.append("")
    return "\n".join(parts).rstrip()


def views(_page: str, _name: str) -> str:
    """The views of the database and their columns."""
    connection = sqlite3.connect(":memory:")
    for script in sorted(
        (files("runner.store") / "migrations").iterdir(), key=lambda item: item.name
    ):
        connection.executescript(script.read_text("utf-8"))
    query = "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name"
    rows = []
    for (name,) in connection.execute(query).fetchall():
        columns = [
            column[1] for column in connection.execute(f"PRAGMA table_info({name})").fetchall()
        ]
        rows.append((f"`{name}`", ", ".join(columns)))
    connection.close()
    return table(("view", "columns"), rows)


def commands(_page: str, _name: str) -> str:
    """The command line."""
    group: Any = typer.main.get_command(app)
    parts = ["Before or after any command:\n", table(("option", "meaning"), options(group))]
    for name, command in group.commands.items():
        shown = typer.main.get_command(simulate) if name == "simulate" else command
        arguments = [
            param.metavar or param.name
            for param in shown.params
            if param.param_type_name == "argument"
        ]
        summary = re.split(r"\n\s*\n", (shown.help or "").strip())[0].replace("\n", " ")
        parts.append(f"**`runner {' '.join([name, *arguments])}`** {summary}")
        rows = options(shown)
        if rows:
            parts.append(table(("option", "meaning"), rows))
    return "\n\n".join(parts)


def options(command: Any) -> list[tuple[str, ...]]:
    """The options of a command, with their help."""
    rows: list[tuple[str, ...]] = []
    for param in command.params:
        names = [*param.opts, *param.secondary_opts]
        if param.param_type_name != "option" or "--help" in names:
            continue
        value = f" {param.metavar}" if param.metavar and not param.is_flag else ""
        rows.append(
            (", ".join(f"`{name}{value}`" for name in names), " ".join((param.help or "").split()))
        )
    return rows


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().split("\n", maxsplit=1)[0]


def package_files() -> list[Path]:
    """Every module of the package."""
    return sorted(
        path
        for path in Path(runner.__file__).parent.rglob("*.py")
        if "__pycache__" not in path.parts
    )


def rows_of_layers() -> list[tuple[str, ...]]:
    """The rows that tests/test_layers.py enforces, and the simulator."""
    for node in ast.parse((ROOT / "tests" / "test_layers.py").read_text("utf-8")).body:
        if (
            isinstance(node, ast.AnnAssign)
            and ast.unparse(node.target) == "ROWS"
            and node.value is not None
        ):
            return [*ast.literal_eval(node.value), ("simulator",)]
    raise AssertionError("tests/test_layers.py has no ROWS")


BLOCKS: dict[str, Callable[[str, str], str]] = {
    "causes": causes,
    "commands": commands,
    "events": happenings,
    "faults": declared.faults,
    "jobs": declared.jobs,
    "keys": declared.keys,
    "mistakes": declared.mistakes,
    "models": declared.models,
    "modules": modules,
    "prices": declared.prices,
    "providers": declared.providers,
    "states": states,
    "systems": declared.systems,
    "traits": declared.traits,
    "views": views,
}
