"""The picture of the layers in docs/architecture.md, as data, and the sizes that keep a module readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import runner

ROOT = Path(runner.__file__).parent
TESTS = Path(__file__).parent

# Rows from the bottom to the top; within a row, from left to right. A module imports from lower rows, from further left
# in its own row, and from its own folder.
ROWS: tuple[tuple[str, ...], ...] = (
    ("__init__", "errors", "causes", "clock"),
    ("events", "wire", "job", "limits", "limiter", "outage", "budget", "polling", "template", "media", "tokens",
     "names", "addresses"),
    ("providers", "manifest", "keys", "settings"),
    ("store", "wakeups", "http", "files"),
    ("steps",),
    ("engine",),
    ("report", "looking", "verification", "actions", "planning", "app"),
    ("examples", "web", "cli", "__main__"),
)  # fmt: skip
PLACE = {name: (row, column) for row, names in enumerate(ROWS) for column, name in enumerate(names)}
WITNESS = "simulator"  # knows nothing of the rest; only what people touch may start it
PURE_ROWS = 3

LONGEST_MODULE = 300
LONGEST_FUNCTION = 40
EMPTY_NAMES = {
    "util",
    "utils",
    "common",
    "helper",
    "helpers",
    "base",
    "manager",
    "managers",
    "misc",
    "core",
}
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
            package = ("runner", *path.relative_to(ROOT).parts)[: -node.level] if node.level else ()
            origin = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{origin}.{alias.name}", node.lineno


def inside(path: Path) -> Iterator[tuple[str, int]]:
    """Every module of this package that a module imports, with the line."""
    for name, line in imported(path):
        first, *rest = name.split(".")
        found = resolve(rest) if first == "runner" else None
        if found is not None:
            yield found, line


def where(path: Path, line: int, what: str = "") -> str:
    """A place in the form that editors turn into a link."""
    return f"{path.relative_to(ROOT.parent)}:{line}: {what}"


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_module_has_its_place() -> None:
    """A new module or folder has to be put into the picture before it can be imported."""
    assert {top(label(path)) for path in OURS} <= PLACE.keys()


def test_imports_point_down() -> None:
    """A module imports from lower rows, from further left in its own, and from its own folder."""
    wrong = [
        where(path, line, f"{label(path)} imports {name}")
        for path in OURS
        for name, line in inside(path)
        if top(name) not in (top(label(path)), WITNESS)
        if PLACE[top(name)] > PLACE[top(label(path))]
    ]
    assert wrong == []


def test_only_what_people_touch_starts_the_simulator() -> None:
    """The witness is not part of the program: nothing below the top row imports it."""
    wrong = [
        where(path, line, name)
        for path in OURS
        if PLACE[top(label(path))][0] < len(ROWS) - 1
        for name, line in inside(path)
        if top(name) == WITNESS
    ]
    assert wrong == []


def test_the_simulator_is_an_independent_witness() -> None:
    """The simulator imports nothing of what it is used to test."""
    mine = [path for path in MODULES if path not in OURS]
    assert mine
    assert [
        where(p, line, name) for p in mine for name, line in inside(p) if top(name) != WITNESS
    ] == []


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
    """There is no cycle of imports anywhere, within a folder neither."""
    graph = {label(path): {name for name, _ in inside(path)} - {"__init__"} for path in MODULES}
    assert find_cycle(graph) == []
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def test_no_import_is_for_the_type_checker_alone() -> None:
    """`if TYPE_CHECKING:` hides an import that points up or around; there is none."""
    found = [
        where(path, node.lineno)
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name) and node.id == "TYPE_CHECKING"
    ]
    assert found == []


def test_a_module_fits_in_a_head() -> None:
    """No module is longer than 300 lines, and none is named after nothing."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in MODULES
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}
    parts = {part for path in MODULES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert parts & EMPTY_NAMES == set()


def test_a_function_fits_on_a_screen() -> None:
    """No function is longer than 40 lines, its docstring included."""
    long = [
        where(path, node.lineno, f"{node.name} has {lines} lines")
        for path in MODULES
        for node in functions(path)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression that is a name with attributes; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{owner}.{node.attr}" if (owner := dotted(node.value)) else ""
    return ""


def uses(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported thing that a module names, in full, with the line."""
    stands_for: dict[str, str] = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                stands_for[alias.asname or top(alias.name)] = (
                    alias.name if alias.asname else top(alias.name)
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                stands_for[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    # `sleep(0)` lets others go first and waits for no time.
    turns = {
        node.func
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and [arg.value for arg in node.args if isinstance(arg, ast.Constant)] == [0]
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute | ast.Name) and node not in turns:
            first, dot, rest = dotted(node).partition(".")
            if first in stands_for:
                yield f"{stands_for[first]}{dot}{rest}", node.lineno


def test_one_module_reads_the_clock_and_none_rolls_dice() -> None:
    """Time comes from clock.py and chance from nowhere, so that every decision can be tested with values."""
    clock = ROOT / "clock.py"
    found = [
        where(p, line, n) for p in OURS if p != clock for n, line in uses(p) if n in TIME_AND_CHANCE
    ]
    assert found == []
    chance = [
        where(p, line, n)
        for p in OURS
        for n, line in imported(p)
        if top(n) in ("random", "secrets")
    ]
    assert chance == []
    assert {name for name, _ in uses(clock)} >= {"time.time", "time.monotonic", "asyncio.sleep"}


def test_one_folder_speaks_to_the_network() -> None:
    """Only http/ sends requests, so that keys and addresses are guarded in one place."""
    found = [
        where(path, line, name)
        for path in OURS
        if top(label(path)) not in NEEDS_NETWORK
        for name, line in imported(path)
        if top(name) == "aiohttp"
    ]
    assert found == []


def test_what_is_pure_waits_for_nothing() -> None:
    """Below the edges there is no `await`: decisions are made at once, from values."""
    waits = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
    found = [
        where(path, node.lineno)
        for path in OURS
        if PLACE[top(label(path))][0] < PURE_ROWS and label(path) != "clock"
        for node in ast.walk(tree(path))
        if isinstance(node, waits)
    ]
    assert found == []


def public(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """The public functions and classes of a module or a class, and theirs."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not each.name.startswith("_"):
                yield each
            if isinstance(each, ast.ClassDef):
                yield from public(each)


def test_everything_public_says_what_it_is() -> None:
    """Every module, public class and public function has a docstring."""
    silent = [where(path, 1) for path in MODULES if not ast.get_docstring(tree(path))]
    silent += [
        where(path, each.lineno, each.name)
        for path in MODULES
        for each in public(tree(path))
        if not ast.get_docstring(each)
    ]
    assert silent == []


def test_every_test_states_its_promise() -> None:
    """Every test has a docstring, so that a failing one says what is no longer true."""
    silent = [
        f"{path.relative_to(TESTS)}:{node.lineno}: {node.name}"
        for path in sorted(TESTS.rglob("test_*.py"))
        for node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []
