"""Output paths that every system can write, and that stay below the outputs folder."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.manifest.digests import Digests
from runner.manifest.outputs import EXT, Output, clean, fold, slug
from runner.template import TemplateError

DEVICES = {"con", "prn", "aux", "nul", *(f"com{n}" for n in "0123456789¹²³"),
           *(f"lpt{n}" for n in "0123456789¹²³")}  # fmt: skip


def check(path: str) -> None:
    """Everything that holds for any path."""
    assert path.endswith("." + EXT)
    stem = path.removesuffix("." + EXT)
    assert len(stem.encode()) + 5 <= 180
    assert not PurePosixPath(stem).is_absolute()
    assert not PureWindowsPath(stem).drive
    for part in stem.split("/"):
        assert part
        assert part not in (".", "..")
        assert len(part.encode()) <= 120
        assert part == unicodedata.normalize("NFC", part)
        assert part[-1] not in ". "
        assert part[0] not in ". "
        assert part.split(".")[0].strip().lower() not in DEVICES
        assert not any(char in '<>:"\\|?*${}' for char in part)
        assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in part)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("plain-name_1.2", "plain-name_1.2"), ("16:9", "16-9"), ("a/b\\c", "a-b-c"),
        ("..", "_"), (".hidden", "hidden"), ("", "_"), (" . ", "_"), ("end. ", "end"),
        ("CON", "_CON"), ("nul.tar", "_nul.tar"), ("com¹", "_com¹"), ("console", "console"),
        ("lpt1 .txt", "_lpt1 .txt"), ("a\u202eb", "a-b"), ("a\u200bb", "a-b"), ("a\nb", "a-b"),
        ("cafe\u0301", "café"), ("a child", "a child"), ("${{ ext }}", "--- ext --"),
    ],
)  # fmt: skip
def test_names_are_made_safe_everywhere(name: str, part: str) -> None:
    """One rule on all systems, whatever the one at hand would allow."""
    assert clean(name) == part


def test_only_written_slashes_make_folders() -> None:
    """A slash in a value becomes a dash, one in the template a folder."""
    path = Output.parse("a/${{ x }}/${{ y }}").path({"x": "p/q", "y": "../../z"})
    assert path == "a/p-q/-..-z.${{ ext }}"


def test_the_extension_is_added_once() -> None:
    """With or without `.${{ ext }}` the path is the same."""
    assert Output.parse("a").path({}) == Output.parse("a.${{ ext }}").path({}) == "a.${{ ext }}"
    assert Output.parse("v1.2").path({}) == "v1.2.${{ ext }}"


def test_prompts_are_slugged() -> None:
    """A prompt in a path is its first forty characters, in words."""
    assert slug("A noble lord, walks: among — his people!") == "a-noble-lord-walks-among-his-people"
    assert len(slug("word " * 50)) <= 40
    assert Output.parse("${{ prompt }}").path({"prompt": "A/B c"}) == "a-b-c.${{ ext }}"


def test_long_names_stay_two() -> None:
    """What is cut off is replaced by a hash, so that different names remain different."""
    one, two = clean("x" * 300 + "1"), clean("x" * 300 + "2")
    assert one != two
    assert len(one) <= 120
    output = Output.parse("${{ a }}/${{ b }}")
    paths = {output.path({"a": "y" * 120, "b": "z" * 119 + end}) for end in "12"}
    assert len(paths) == 2
    for path in paths:
        check(path)


def test_case_makes_no_second_file() -> None:
    """Paths are compared as a system does that ignores case and normal form."""
    assert fold("A/Straße") == fold("a/STRASSE")
    assert fold("CAFÉ") == fold("cafe\u0301")


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_any_values_give_a_safe_path(one: str, two: str, three: str) -> None:
    """Whatever variables hold, the path is relative, contained and writable everywhere."""
    values = {"a": one, "b": two, "prompt": three}
    check(Output.parse("x-${{ a }}/${{ b }}/${{ prompt }}").path(values))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab/.\\:~ ${}"), max_size=30))
def test_any_template_is_safe_or_refused(source: str) -> None:
    """A template is a TemplateError or makes safe paths."""
    try:
        output = Output.parse(source)
    except TemplateError:
        return
    check(output.path(dict.fromkeys(output.names, "v")))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_cleaning_again_changes_nothing(name: str) -> None:
    """A safe name is left alone."""
    assert clean(clean(name)) == clean(name)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=2).map(lambda part: (part * 16)[:16])))
def test_digests_are_known_once(digests: list[bytes]) -> None:
    """The compact set agrees with a real one, also for digests that overlap their neighbours."""
    known: set[bytes] = set()
    compact = Digests()
    for digest in digests:
        assert compact.add(digest) == (digest not in known)
        known.add(digest)
    assert len(compact) == len(known)
    for start in (digest[:size] for digest in known for size in (2, 4, 16)):
        assert compact.count(start, 3) == min(3, sum(each.startswith(start) for each in known))
