"""YAML: typing that surprises nobody, and bombs that never go off."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runner.errors import ManifestError
from runner.manifest import document
from runner.manifest.document import read_yaml
from runner.manifest.marks import plain, typed

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]


def read(text: str | bytes, loader: Any = LOADERS[-1]) -> Any:
    """The plain value of a document."""
    return plain(read_yaml(text.encode() if isinstance(text, str) else text, "f.yaml", loader))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, text) for text in ["16:9", "9:16", "1:1", "12:30:45", "no", "yes", "on", "off", "y", "n", "NO"]),
        *((text, text) for text in ["012", "007", "-01", "0x1F", "0o17", "0b1", "1_000", ".inf", "-.INF", ".nan"]),
        *((text, text) for text in ["2024-01-01", "1.2.3", "1e", "1e+", "e5", "-", "+", ".", "+.", "1,000", "5s"
            , "\u0661"]),
        *((text, text) for text in ("1e999", "9" * 200, "nUll", "tRUE")),
        ("5", 5), ("-5", -5), ("+5", 5), ("0", 0), ("-0", 0),
        ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-3", -0.0015),
        ("true", True), ("True", True), ("FALSE", False),
        ("null", None), ("~", None), ("", None), ("NULL", None),
    ],
)  # fmt: skip
def test_unquoted_values_are_typed_as_they_look(text: str, value: Any) -> None:
    """Only true/false, null and decimal numbers are more than text."""
    found = typed(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("loader", LOADERS)
def test_quoted_values_are_text(loader: Any) -> None:
    """Quotes and block styles always make text, with either parser."""
    assert read("a: '5'\nb: \"true\"\nc: |\n  5\nd: >-\n  null\n", loader) == {
        "a": "5", "b": "true", "c": "5\n", "d": "null",
    }  # fmt: skip


@pytest.mark.parametrize("loader", LOADERS)
def test_names_are_always_text(loader: Any) -> None:
    """A name that looks like a number or a truth value is still a name."""
    assert read("no: 1\n5: 2\n1.10: 3\n", loader) == {"no": 1, "5": 2, "1.10": 3}


@pytest.mark.parametrize("loader", LOADERS)
def test_anchors_and_merges_work(loader: Any) -> None:
    """What is written wins over what is merged, and an earlier merge over a later one."""
    text = (
        "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {'<<': 4}\ne: [*a]\n"
    )
    found = read(text, loader)
    assert found["c"] == {"x": 3, "y": 1, "z": 2}
    assert found["d"] == {"<<": 4}
    assert found["e"] == [{"x": 1, "y": 1}]


def test_windows_files_are_read() -> None:
    """A BOM and CRLF change nothing."""
    assert read(b"\xef\xbb\xbfa: 1\r\nb: |\r\n  x\r\n") == {"a": 1, "b": "x\n"}


def levels(line: str) -> bytes:
    """Nine levels, each naming the one before ten times."""
    found = "a: &a {k0: 1, k1: 1, k2: 1, k3: 1, k4: 1, k5: 1, k6: 1, k7: 1, k8: 1, k9: 1}\n"
    for at in range(9):
        old, new = chr(97 + at), chr(98 + at)
        found += line.format(new=new, many=", ".join([f"*{old}"] * 10)) + "\n"
    return found.encode()


BOMBS = {
    "nesting": (b"[" * 1_000_000, "nested deeper than 32"),
    "mappings": (b"{a: " * 50_000, "nested deeper than 32"),
    "aliases": (levels("{new}: &{new} [{many}]"), "multiply to more than 1,000,000"),
    "merges": (levels("{new}: &{new} {{<<: [{many}]}}"), "multiply to more than 1,000,000"),
    "references": (b"a: &a 1\nb: [" + b"*a, " * 2_000 + b"]", "more than 1,000 aliases"),
    "size": (b"#" * 10_000_001, "larger than 10 MB"),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("loader", LOADERS)
def test_bombs_are_refused_before_anything_is_built(
    name: str, loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deep, multiplied and huge files are refused after a few thousand parser events, with a place."""
    events = 0
    parse = yaml.parse

    def counted(text: str, Loader: Any) -> Any:  # noqa: N803
        nonlocal events
        for event in parse(text, Loader=Loader):
            events += 1
            yield event

    monkeypatch.setattr(yaml, "parse", counted)
    data, words = BOMBS[name]
    with pytest.raises(ManifestError) as caught:
        read_yaml(data, "f.yaml", loader)
    (problem,) = caught.value.problems
    assert words in problem.message
    assert problem.line >= 1
    assert problem.column >= 1
    assert events < 4_000


def test_a_wide_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of values has a limit, and its place is that of the first one too many."""
    monkeypatch.setattr(document, "MAX_NODES", 100)
    with pytest.raises(ManifestError, match=r"f.yaml:100:3: more than 100 values"):
        read(b"- a\n" * 200)


def test_thirty_two_levels_are_allowed() -> None:
    """The limit of the depth is the one that is written down."""
    assert read("[" * 32 + "]" * 32)
    with pytest.raises(ManifestError):
        read("[" * 33 + "]" * 33)


def test_a_lone_surrogate_is_refused() -> None:
    """Half a character can't be sent or stored, whichever parser reads it."""
    for loader in LOADERS:
        with pytest.raises(ManifestError):
            read('a: "\\ud800"', loader)
