"""What the packages say they offer, and what they do."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

import runner

ROOT = Path(runner.__file__).parent


def packages() -> list[str]:
    """Every package under `runner` that says what it offers."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        if "__all__" in path.read_text("utf-8"):
            parts = path.relative_to(ROOT.parent).with_suffix("").parts
            found.append(".".join(part for part in parts if part != "__init__"))
    return found


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each from a to z, as ruff sorts them."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name


def offered(module: ModuleType) -> list[str]:
    """The `__all__` of a module."""
    return list(module.__all__)


@pytest.mark.parametrize("name", packages())
def test_all_is_sorted_and_true(name: str) -> None:
    """`__all__` has every name once, in order, and each of them is there."""
    module = importlib.import_module(name)
    names = offered(module)
    assert names == sorted(set(names), key=order)
    assert [each for each in names if not hasattr(module, each)] == []
    assert [each for each in names if each.startswith("_")] == []


def test_the_package_is_typed() -> None:
    """`py.typed` tells type checkers to believe our annotations."""
    assert (ROOT / "py.typed").is_file()


def test_data_files_are_in_the_package() -> None:
    """Schema migrations and presets are found beside the code, so that an installed copy has them too."""
    assert sorted((ROOT / "store" / "migrations").glob("*.sql"))
    assert (ROOT / "providers" / "presets.yaml").is_file()
