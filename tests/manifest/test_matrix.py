"""Matrices, by the examples of GitHub's documentation."""

from __future__ import annotations

from typing import Any

import pytest

from runner.manifest.matrix import MatrixTooLarge, combinations


def test_axes_multiply_in_written_order() -> None:
    """The first axis is the slowest."""
    assert combinations({"a": [1, 2], "b": ["x", "y"]}, [], [], 100) == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"},
    ]  # fmt: skip


def test_include_extends_and_adds_as_documented() -> None:
    """An include extends what it fits without overwriting an axis, and else is a combination of its own."""
    found = combinations(
        {"fruit": ["apple", "pear"], "animal": ["cat", "dog"]},
        [
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
        [],
        100,
    )
    assert found == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_include_can_expand_single_combinations() -> None:
    """An include with all axes adds its variable to exactly that combination."""
    found = combinations(
        {"os": ["windows", "ubuntu"], "node": [14, 16]},
        [{"os": "windows", "node": 16, "npm": 6}],
        [],
        100,
    )
    assert found[1] == {"os": "windows", "node": 16, "npm": 6}
    assert all("npm" not in one for at, one in enumerate(found) if at != 1)


def test_include_alone_makes_the_combinations() -> None:
    """Without axes each include is a combination."""
    assert combinations({}, [{"site": "prod"}, {"site": "stage"}], [], 100) == [
        {"site": "prod"}, {"site": "stage"},
    ]  # fmt: skip


def test_exclude_removes_partial_matches() -> None:
    """A combination goes when it agrees with all entries of an exclude, however few they are."""
    found = combinations(
        {"os": ["mac", "win"], "version": [12, 14, 16], "env": ["staging", "production"]},
        [],
        [{"os": "mac", "version": 12, "env": "production"}, {"os": "win", "version": 16}],
        100,
    )
    assert len(found) == 9
    assert {"os": "mac", "version": 12, "env": "production"} not in found
    assert not any(one["os"] == "win" and one["version"] == 16 for one in found)


def test_include_comes_after_exclude() -> None:
    """What was excluded can be added back."""
    found = combinations({"a": [1, 2]}, [{"a": 1, "b": 3}], [{"a": 1}], 100)
    assert found == [{"a": 2}, {"a": 1, "b": 3}]


def test_true_is_not_one() -> None:
    """Values match only within their type."""
    assert combinations({"a": [1, True]}, [], [{"a": True}], 100) == [{"a": 1}]


def test_no_matrix_is_one_combination() -> None:
    """A manifest without a matrix makes each prompt once."""
    assert combinations({}, [], [], 100) == [{}]


@pytest.mark.parametrize(
    ("axes", "entries"),
    [({f"a{at}": range(10) for at in range(9)}, 0), ({"a": range(10_000)}, 1_000)],
)
def test_explosions_are_counted_not_made(axes: Any, entries: int) -> None:
    """A billion combinations, or work without end, are refused from their count."""
    with pytest.raises(MatrixTooLarge):
        combinations(axes, [{"b": 1}] * entries, [], 100_000)


@pytest.mark.parametrize("parts", [0, 1, 2, 3])
def test_nothing_is_built_for_a_product_over_the_cap(parts: int) -> None:
    """The cap itself is allowed, one more is not."""
    axes = {f"a{at}": [1, 2] for at in range(parts)} or {"a": [1]}
    size = 2**parts
    assert len(combinations(axes, [], [], size)) == size
    if size > 1:
        with pytest.raises(MatrixTooLarge):
            combinations(axes, [], [], size - 1)
