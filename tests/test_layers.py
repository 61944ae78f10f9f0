"""The picture of the layers in docs/architecture.md, as data, and the sizes that keep a module readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import runner

ROOT = Path(runner.__file__).parent
TESTS = Path(__file__).parent

# Rows from the bottom to the top; within a row, from left to right. A module imports from lower rows, from further left
# in its own row, and from its own folder.
ROWS: tuple[tuple[str, ...], ...] = (
    ("errors", "causes", "clock"),
    ("events", "job", "wire", "limits", "limiter", "budget", "polling", "template", "media", "tokens", "names",
     "addresses"),
    ("providers", "manifest", "keys", "settings"),
    ("store", "wakeups", "http", "files"),
    ("steps",),
    ("engine",),
    ("report", "looking", "planning", "app"),
    ("examples", "web", "cli", "__main__", "__init__"),
)  # fmt: skip
PLACE = {name: (row, column) for row, names in enumerate(ROWS) for column, name in enumerate(names)}
WITNESS = "simulator"  # knows nothing of the rest; only what people touch may start it
PURE_ROWS = 3

LONGEST_MODULE = 300
LONGEST_FUNCTION = 40
EMPTY_NAMES = {"util", "utils", "common", "helper", "helpers", "base", "manager", "managers", "misc", "core"}
TIME_AND_CHANCE = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep",
    "asyncio.sleep", "uuid.uuid1", "uuid.uuid4", "datetime.datetime.now", "datetime.datetime.utcnow",
    "datetime.datetime.today", "datetime.date.today",
}  # fmt: skip
NEEDS_NETWORK = {"http", "web"}  # who may import aiohttp: one asks, the other one serves


@cache
def tree(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text("utf-8"), str(path))


MODULES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)
OURS = [path for path in MODULES if path.relative_to(ROOT).parts[0] != WITNESS]


def label(path: Path) -> str:
    """A module's name without the package's: `store.ledger`, `store.__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def top(name: str) -> str:
    """The first part of a module's name, which is what has a place in the picture."""
    return name.split(".", maxsplit=1)[0]


KNOWN = {label(path) for path in MODULES}


def resolve(parts: list[str]) -> str | None:
    """The module of this package that a dotted name lives in, if it is one."""
    for length in range(len(parts), -1, -1):
        name = ".".join(parts[:length])
        if name in KNOWN:
            return name
        package = f"{name}.__init__" if name else "__init__"
        if package in KNOWN:
            return package
    return None


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every name that a module imports, wherever in it, with the line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def inside(path: Path) -> Iterator[tuple[str, int]]:
    """Every module of this package that a module imports, with the line."""
    for name, line in imported(path):
        first, *rest = name.split(".")
        found = resolve(rest) if first == "runner" else None
        if found is not None:
            yield found, line


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_module_has_its_place() -> None:
    """A new module or folder has to be put into the picture before it can be imported."""
    assert {top(label(path)) for path in OURS} <= PLACE.keys()


@pytest.mark.parametrize("path", OURS, ids=label)
def test_imports_point_down(path: Path) -> None:
    """A module imports from lower rows, from further left in its own, and from its own folder."""
    own = top(label(path))
    wrong = [
        f"{path}:{line}: {own} imports {name}"
        for name, line in inside(path)
        if top(name) not in (own, WITNESS) and PLACE[top(name)] > PLACE[own]
    ]
    assert wrong == []


@pytest.mark.parametrize("path", OURS, ids=label)
def test_only_what_people_touch_starts_the_simulator(path: Path) -> None:
    """The witness is not part of the program: nothing below the top row imports it."""
    if PLACE[top(label(path))][0] < len(ROWS) - 1:
        assert [line for name, line in inside(path) if top(name) == WITNESS] == []


def test_the_simulator_is_an_independent_witness() -> None:
    """The simulator imports nothing of what it is used to test."""
    mine = [path for path in MODULES if path not in OURS]
    assert mine
    wrong = [
        f"{path}:{line}: {name}" for path in mine for name, line in inside(path) if top(name) != WITNESS
    ]
    assert wrong == []


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """One cycle of a graph of imports, or an empty list."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := visit(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def test_no_module_imports_itself_on_a_detour() -> None:
    """There is no cycle of imports anywhere, folders included."""
    graph = {label(path): {name for name, _ in inside(path)} - {"__init__"} for path in MODULES}
    assert find_cycle(graph) == []
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_no_import_for_the_type_checker_alone(path: Path) -> None:
    """`TYPE_CHECKING` hides an import that points up; there is none."""
    names = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
    assert "TYPE_CHECKING" not in names


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_a_module_fits_in_a_head(path: Path) -> None:
    """No module is longer than 300 lines, no function than 40, and none is named after nothing."""
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_MODULE
    long = {
        f"{path}:{node.lineno}: {node.name}": lines
        for node in functions(path)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }
    assert long == {}
    assert not EMPTY_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression that is a name with attributes; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{owner}.{node.attr}" if (owner := dotted(node.value)) else ""
    return ""


def aliases(path: Path) -> dict[str, str]:
    """What the names that a module imports stand for."""
    found = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.asname or top(alias.name): alias.asname and alias.name or top(alias.name)
                      for alias in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def uses(path: Path) -> Iterator[tuple[str, int]]:
    """Every foreign thing that a module names, in full, with the line."""
    known = aliases(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute | ast.Name) and (name := dotted(node)):
            first, dot, rest = name.partition(".")
            if first in known:
                yield f"{known[first]}{dot}{rest}", node.lineno


@pytest.mark.parametrize("path", OURS, ids=label)
def test_one_module_reads_the_clock_and_none_rolls_dice(path: Path) -> None:
    """Time comes from clock.py and chance from nowhere, so that every decision can be tested with values."""
    found = [f"{path}:{line}: {name}" for name, line in uses(path) if name in TIME_AND_CHANCE]
    chance = [f"{path}:{line}: {name}" for name, line in imported(path) if top(name) in ("random", "secrets")]
    assert chance == []
    assert found == [] or label(path) == "clock"


def test_the_clock_is_found_where_it_is_read() -> None:
    """The search above sees clock.py itself, so that it would see others."""
    assert {name for name, _ in uses(ROOT / "clock.py")} >= {"time.time", "time.monotonic", "asyncio.sleep"}


@pytest.mark.parametrize("path", OURS, ids=label)
def test_one_folder_speaks_to_the_network(path: Path) -> None:
    """Only http/ sends requests, so that keys and addresses are guarded in one place."""
    if top(label(path)) not in NEEDS_NETWORK:
        assert [line for name, line in imported(path) if top(name) in ("aiohttp", "requests", "httpx")] == []


@pytest.mark.parametrize("path", OURS, ids=label)
def test_what_is_pure_waits_for_nothing(path: Path) -> None:
    """Below the edges there is no `await`: decisions are made at once, from values."""
    name = top(label(path))
    if PLACE[name][0] >= PURE_ROWS or name == "clock":
        return
    waits = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
    found = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, waits)]
    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_everything_public_says_what_it_is(path: Path) -> None:
    """Every module, public class and public function has a docstring that begins with a sentence or a phrase."""
    module = tree(path)
    silent = [] if ast.get_docstring(module) else [f"{path}:1"]
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            members = [node, *(each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))]
        elif node is module:
            members = [each for each in module.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
        else:
            continue
        silent += [
            f"{path}:{each.lineno}: {each.name}"
            for each in members
            if not each.name.startswith("_") and not ast.get_docstring(each)
        ]
    assert silent == []


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS))
)
def test_every_test_states_its_promise(path: Path) -> None:
    """Every test has a docstring, so that a failing one says what is no longer true."""
    silent = [
        f"{path}:{node.lineno}: {node.name}"
        for node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []
