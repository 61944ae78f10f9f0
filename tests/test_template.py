"""Templates: one look-up, no code, types kept where nothing else is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.template import MissingVariable, Template, TemplateError


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("plain", "plain"),
        ("A ${{ lord }} lord", "A noble lord"),
        ("${{lord}}${{ lord }}", "noblenoble"),
        ("${{ n }}", 5),
        ("${{ on }}", True),
        ("${{ none }}", None),
        ("${{ many }}", [1, 2]),
        ("n=${{ n }} on=${{ on }} x=${{ x }} none=${{ none }}", "n=5 on=true x=0.5 none="),
        (" ${{ n }}", " 5"),
        ("$${{ lord }}", "${{ lord }}"),
        ("$$${{ lord }}", "$${{ lord }}"),
        ("$${{ ${{ lord }}", "${{ noble"),
        ("{{ lord }} ${lord} $lord {lord}", "{{ lord }} ${lord} $lord {lord}"),
        ("${{ trap }}", "${{ lord }}"),
        ("a ${{ trap }}", "a ${{ lord }}"),
        ("${{ Shot name }}", "opening"),
        ("${{ цвет }}", "red"),
    ],
)
def test_variables_are_looked_up_once(source: str, value: Any) -> None:
    """A variable is replaced by its value, which is never looked into."""
    values = {
        "lord": "noble", "n": 5, "on": True, "x": 0.5, "none": None, "many": [1, 2],
        "trap": "${{ lord }}", "Shot name": "opening", "цвет": "red",
    }  # fmt: skip
    found = Template.parse(source).render(values)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("source", "offset"),
    [
        ("ab ${{ x", 3),
        ("${{ }}", 0),
        ("x ${{ a.b }}", 2),
        ("${{ f() }}", 0),
        ("${{ ${{ a }} }}", 0),
    ],
)
def test_what_is_no_name_is_refused_at_its_place(source: str, offset: int) -> None:
    """Anything but a name between the braces is an error that knows its offset."""
    with pytest.raises(TemplateError) as caught:
        Template.parse(source)
    assert caught.value.offset == offset


def test_a_missing_variable_is_named() -> None:
    """The error has the name and the offset of the variable."""
    for source, offset in (("${{ who }}", 0), ("to ${{ who }}!", 3)):
        with pytest.raises(MissingVariable) as caught:
            Template.parse(source).render({})
        assert (caught.value.name, caught.value.offset) == ("who", offset)


def test_lists_and_mappings_stand_alone() -> None:
    """A list inside a text is an error, not Python's spelling of it."""
    for value in ([1], {"a": 1}):
        with pytest.raises(TemplateError, match="can't stand inside a text"):
            Template.parse("x ${{ a }}").render({"a": value})


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("${} \nab.-_é"), max_size=40))
def test_no_text_breaks_the_parser(source: str) -> None:
    """Any text is a template or a TemplateError, and rendering with all its names gives a value."""
    try:
        template = Template.parse(source)
    except TemplateError:
        return
    template.render(dict.fromkeys(template.names, "${{ a }}"))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_escaping_gives_every_text_back(text: str) -> None:
    """A text whose openings are escaped renders to itself."""
    assert Template.parse(text.replace("${{", "$${{")).render({}) == text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_values_are_put_in_as_they_stand(before: str, value: str, after: str) -> None:
    """Whatever a value holds, it arrives unchanged between its neighbours."""
    before, after = before.replace("$", ""), after.replace("{", "")
    assert (
        Template.parse(f"{before}${{{{ x }}}}{after}").text({"x": value}) == before + value + after
    )
