"""The benchmarks run and print ratios; what the ratios are is no test's business."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.__main__ import main


@pytest.mark.parametrize("name", ["throughput", "downloads", "polling"])
def test_a_benchmark_prints_its_ratios(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of a benchmark has a figure, what it is a ratio of, and no benchmark is left out silently."""
    main([name, "--small", "--rounds", "1", "--json"])
    shown = capsys.readouterr()
    figures = [json.loads(line) for line in shown.out.splitlines()]
    assert figures, shown.err
    assert all(figure["value"] > 0 for figure in figures)
    assert any(figure["unit"] == "x" for figure in figures)
    assert any(figure["floor"] for figure in figures)


def test_the_table_names_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """A table without its machine, Python and date can't be compared with another."""
    main(["polling", "--small"])
    table = capsys.readouterr().out
    assert " UTC, " in table
    assert "Python 3." in table
    assert "SQLite 3." in table
    assert "| polling normal |" in table


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped name ends at once and lists the names there are."""
    with pytest.raises(SystemExit):
        main(["thruput"])
    assert "Known: throughput" in capsys.readouterr().err
