"""A small manifest for every mistake: each is named at its line and column, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import ManifestError
from runner.manifest import load

P = "prompts: [a]\n"

SHAPE = [
    # top level; the head takes lines 1 to 3
    ("prompts: []\n", "4:1", "this list is empty"),
    ("prompts: a lord\n", "4:1", "a list is needed"),
    ("prompts: {from: x.csv}\n", "4:1", "a list is needed"),
    ("prompts:\n", "4:1", "nothing is written here"),
    ("", "1:1", "prompts is missing"),
    (P + "nmae: x\n", "5:1", "Did you mean name?"),
    (P + "Prompts: [b]\n", "5:1", "Did you mean prompts?"),
    (P + "duration: 5\n", "5:1", "write it under params:"),
    (P + "base_url: http://127.0.0.1\n", "5:1", "providers.yaml does that"),
    (P + "headers: {a: b}\n", "5:1", "providers.yaml does that"),
    (P + "api_key: secret\n", "5:1", "providers.yaml does that"),
    (P + "auth: {scheme: Key}\n", "5:1", "providers.yaml does that"),
    (P + "budget: 25\n", "5:1", "Write an amount and a currency: 25 USD"),
    (P + "budget: lots USD\n", "5:1", "25 USD"),
    (P + "budget: 0 USD\n", "5:1", "more than nothing"),
    (P + "budget: [25]\n", "5:1", "budget: 25 USD"),
    (P + "on_doubt: maybe\n", "5:1", "on_doubt: hold or on_doubt: resubmit"),
    (P + "timeout: soon\n", "5:1", "Write 90s, 15m, 2h"),
    (P + "timeout: 0s\n", "5:1", "longer than nothing"),
    (P + "limits: 30/1m\n", "5:1", "limits: {submits: 30/1m, in_flight: 20}"),
    (P + "limits: {submits: fast}\n", "5:10", "30/1m"),
    (P + "limits: {requests: 10/0s}\n", "5:10", "empty window"),
    (P + "limits: {in_flight: 0}\n", "5:10", "at least 1"),
    (P + "limits: {in_flight: many}\n", "5:10", "a whole number is needed"),
    (P + "limits: {submit: 30/1m}\n", "5:10", "Did you mean submits?"),
    (P + "limits: {cpu: 3}\n", "5:10", "Write submits, in_flight or requests"),
    (P + "params: [a]\n", "5:1", "a mapping of names to values is needed"),
    (P + "vars: {film: [a]}\n", "5:8", "text, a number, true or false is needed"),
    (P + "name: a/b\n", "5:1", "can't name a folder"),
    (P + "name: ../x\n", "5:1", "can't name a folder"),
    (P + "name: ${{ lord }}\n", "5:7", "the variable lord is unknown"),
    (P + "name: 12\n", "5:1", "Put it in quotes"),
    (P + "matrix: [a]\n", "5:1", "a list under each axis"),
    (P + "matrix: {ratio: 16:9}\n", "5:10", "a list is needed"),
    (P + "matrix: {ratio: []}\n", "5:10", "this list is empty"),
    (P + "matrix: {include: {a: 1}}\n", "5:10", "a list is needed"),
    # items
    ("prompts:\n  - 1984\n", "5:5", "Put it in quotes"),
    ("prompts:\n  -\n", "5:4", "a prompt is missing after the dash"),
    ("prompts:\n  - [a, b]\n", "5:5", "a list can't be a prompt"),
    ("prompts:\n  - A lord: he walks\n", "5:5", "put the prompt in quotes"),
    ("prompts:\n  - {prompt: a, promt: b}\n", "5:17", "Did you mean prompt?"),
    ("prompts:\n  - {prompt: 12}\n", "5:6", "Put it in quotes"),
    ("prompts:\n  - {prompt: a, repeat: 0}\n", "5:17", "at least 1"),
    ("prompts:\n  - {prompt: a, repeat: 99999}\n", "5:17", "at most 10,000"),
    ("prompts:\n  - {prompt: a, repeat: two}\n", "5:17", "a whole number is needed"),
    ("prompts:\n  - {prompt: a, base_url: b}\n", "5:17", "providers.yaml does that"),
    ("prompts:\n  - {prompt: a, params: 5}\n", "5:17", "a mapping of names to values"),
    ("prompts: ['  ']\n", "4:11", "the prompt is empty"),
]

HEADS = [
    ("provider: fal\nmodel: a/b\n", "1:1", "version is missing. Write version: 1"),
    ("version: 2\nprovider: fal\nmodel: a/b\n", "1:1", "Install a newer release"),
    ("version: 0\nprovider: fal\nmodel: a/b\n", "1:1", "Write version: 1"),
    ("version: '1'\nprovider: fal\nmodel: a/b\n", "1:1", "a whole number is needed"),
    ("version: 1\nmodel: a/b\n", "1:1", "provider is missing"),
    ("version: 1\nprovider: fal\n", "1:1", "model is missing"),
    ("version: 1\nprovider: https://x.example\nmodel: a/b\n", "2:1", "a name, not a URL"),
    ("version: 1\nprovider: a/b\nmodel: a/b\n", "2:1", "letters, digits"),
    ("version: 1\nprovider: fal\nmodel: https://queue.fal.run/a\n", "3:1", "a path, not a URL"),
    ("version: 1\nprovider: fal\nmodel: /a/b\n", "3:1", "is relative. Write a/b"),
    ("version: 1\nprovider: fal\nmodel: a/../b\n", "3:1", ". or .."),
    ("version: 1\nprovider: fal\nmodel: a/b?x=1\n", "3:1", "can't hold ?"),
    ("version: 1\nprovider: fal\nmodel: a//b\n", "3:1", "parts of letters"),
    ("version: 1\nprovider: fal\nmodel: a b\n", "3:1", "parts of letters"),
]

VARIABLES = [
    (
        "vars: {film: x}\nprompts: ['${{ flim }} ${{ film }}']\n",
        "5:12",
        "Did you mean ${{ film }}?",
    ),
    ("prompts:\n  - A ${{ lord }} walks\n", "5:7", "the variable lord is unknown"),
    ("prompts:\n  - A ${{ lord walks\n", "5:7", "${{ is never closed"),
    ("prompts:\n  - A ${{ matrix.lord }}\n", "5:7", "Write ${{ lord }}"),
    ("prompts:\n  - A ${{ 1 + 1 }}\n", "5:7", "only the name of a variable"),
    ("prompts:\n  - A ${{ }}\n", "5:7", "names no variable"),
    ("prompts:\n  - A ${{ ext }}\n", "5:7", "only when the result is here"),
    ("prompts:\n  - A ${{ id }}\n", "5:7", "the id is made from it"),
    ("prompts:\n  - A ${{ prompt }}\n", "5:7", "in the prompt itself"),
    (P + "params: {a: '${{ id }}'}\n", "5:14", "Write id: in this item"),
    (P + "params: {a: [{b: '${{ x }}'}]}\n", "5:19", "the variable x is unknown"),
    (P + "output: ${{ nobody }}\n", "5:9", "the variable nobody is unknown"),
    (P + "vars: {film: x}\n", "5:8", "nothing uses the variable film"),
    (P + "matrix: {lord: [a, b]}\n", "5:10", "nothing uses the axis lord"),
    (P + "vars: {index: 5}\n", "5:8", "index is built in"),
    (P + "vars: {a.b: 5}\n", "5:8", "can't be used as ${{"),
    (
        "prompts: ['${{ lord }}']\nmatrix: {lord: [a, b], exclude: [{lrod: a}]}\n",
        "5:35",
        "Did you mean lord?",
    ),
    ("prompts: ['${{ n }}']\nmatrix: {n: [1, 2], exclude: [{n: 3}]}\n", "5:35", "has no value 3"),
    (
        "prompts: ['${{ n }}']\nmatrix: {n: [1], exclude: [{n: 1}]}\n",
        "5:9",
        "no combination is left",
    ),
    (
        "prompts: ['${{ n }} ${{ hat }}']\nmatrix: {n: [1, 2], include: [{n: 1, hat: x}]}\n",
        "4:21",
        "no value where n=2",
    ),
    (
        "prompts:\n  - ${{ who }}\n  - {prompt: '${{ who }}', vars: {who: x}}\n",
        "5:5",
        "has no value for some of the prompts",
    ),
    ("prompts: ['${{ c }} x']\nmatrix: {c: [[1, 2]]}\n", "4:11", "is a list"),
    (
        "prompts: ['${{ a }}${{ b }}']\nmatrix: {a: [1, 2, 3], b: [1, 2, 3, 4]}\n",
        "5:9",
        "multiply to 12 combinations, more than 10",
    ),
    (
        "prompts: ['${{ a }}', 'b${{ a }}', c]\nmatrix: {a: [1, 2, 3, 4]}\n",
        "4:1",
        "12 jobs are written here",
    ),
    ("prompts: [{prompt: a, repeat: 11}]\n", "4:1", "11 jobs are written here, more than 10"),
]

NAMES = [
    ("prompts: [{prompt: a, id: a/b}]\n", "4:27", "can't name a file everywhere"),
    ("prompts: [{prompt: a, id: имя}]\n", "4:27", "can't name a file everywhere"),
    ("prompts: [{prompt: a, id: '${{ prompt }}!'}]\n", "4:11", "can't name a file everywhere"),
    (P + "output: /abs/${{ id }}\n", "5:9", "relative to the outputs folder"),
    (P + "output: C:/${{ id }}\n", "5:9", "relative to the outputs folder"),
    (P + "output: ../${{ id }}\n", "5:9", ".. can't be a part"),
    (P + "output: a//b\n", "5:9", "an empty name can't be a part"),
    (P + "output: a\\${{ id }}\n", "5:9", "Write / between folders"),
    (P + "output: ${{ id }}.mp4\n", "5:9", "Write .${{ ext }} instead of .mp4"),
    (P + "output: ${{ ext }}/${{ id }}\n", "5:9", "only stand at the end"),
    (P + "output: a/b/c/d/e/f/g/${{ id }}\n", "5:9", "more than 6 folders"),
    ("prompts: [a, b]\noutput: same\n", "4:14", "the one at film.yaml:4:11 both write same"),
    (
        "prompts: ['a ${{ n }}']\nmatrix: {n: [1, 2]}\noutput: same\n",
        "4:11",
        "another combination of this prompt both write same",
    ),
]

PICTURES = [
    (P + "params: {image: ../../etc/passwd}\n", "5:17", "leaves the manifest's folder"),
    (P + "params: {image: /etc/passwd}\n", "5:17", "absolute path"),
    (P + "params: {image: ~/a.png}\n", "5:17", "absolute path"),
    (P + "params: {image: 'C:\\a.png'}\n", "5:17", "absolute path"),
    (P + "params: {image_url: nope.png}\n", "5:21", "there is no file nope.png"),
    (P + "params: {image_tail: text.png}\n", "5:22", "is not a picture"),
    (P + "params: {image_tail: sub}\n", "5:22", "is not a file"),
    (P + "params: {image_url: ''}\n", "5:21", "is empty"),
    (P + "params: {image_url: 'file:///etc/passwd'}\n", "5:21", "is no picture"),
    (P + "params: {image_url: 'https://'}\n", "5:21", "has no host"),
    (P + "params: {image_url: 'https://u:p@h/a.png'}\n", "5:21", "user name or password"),
    (P + "params: {image_url: 'https://h/a b.png'}\n", "5:21", "spaces"),
    (P + "params: {image_list: [{image: no.png}]}\n", "5:31", "there is no file no.png"),
    (P + "params: {dynamic_masks: [{mask: no.png}]}\n", "5:33", "there is no file no.png"),
    (P + "params: {input_image_urls: [no.png]}\n", "5:29", "there is no file no.png"),
    (P + "params: {image: {$image: {path: /etc/passwd}}}\n", "5:17", "starts with $"),
    (P + "params: {$image: {path: /etc/passwd}}\n", "5:10", "starts with $"),
    ("prompts: [{prompt: a, params: {prompt: b}}]\n", "4:32", "the prompt stands twice"),
]

YAML: list[tuple[str | bytes, str, str]] = [
    (b"", "1:1", "the file is empty"),
    (b"# only a comment\n", "1:1", "the file is empty"),
    (b"- a\n", "1:1", "a manifest is a mapping"),
    (b"version: 1\nversion: 1\n", "2:1", "version stands twice, first on line 1"),
    (b"a:\n  b: 1\n  b: {c: 1}\n", "3:3", "b stands twice, first on line 2"),
    (b"a: !x 1\n", "1:4", "the tag !x can't be used"),
    (b"a: !!python/object:os.system [x]\n", "1:4", "can't be used"),
    (b"a: 1\n---\nb: 2\n", "2:1", "a second document"),
    (b"a:\n\tb: 1\n", "2:1", "Use spaces"),
    (b"a: x\0\n", "1:5", "U+0000"),
    (b"a: \x1b[31m\n", "1:4", "U+001B"),
    ("a: 1\n".encode("utf-16"), "1:1", "Save it as UTF-8"),
    (b"a: 1\nb: caf\xe9\n", "2:7", "not UTF-8 here"),
    (b"? [a]\n: 1\n", "1:3", "can't be a name"),
    (b"a: b: c\n", "1:5", "in quotes"),
    (b"a: @x\n", "1:4", "Put it in quotes"),
    (b"a: *x\n", "1:4", "*x names nothing"),
    (b"a: &a [*a]\n", "1:8", "stands inside itself"),
    (b"a: {<<: 3}\n", "1:5", "<< merges mappings only"),
    (b"a: [1, 2\n", "2:1", "Check indentation, quotes and brackets"),
    (b'a: "x\n', "2:1", "Check indentation, quotes and brackets"),
]

ROWS = [
    ("a.csv", "prompt,who\nx,y,z\n", "a.csv:2:1", "has 3 cells, the header has 2"),
    ("a.csv", "prompt,who\nx,y\nx\n", "a.csv:3:1", "has 1 cells"),
    ("a.csv", 'prompt\n"x\ny\n', "a.csv:2:1", "never closed"),
    ("a.csv", "prompt,prompt\nx,y\n", "a.csv:1:1", "two columns are called prompt"),
    ("a.csv", "", "a.csv:1:1", "the header is missing"),
    ("a.csv", "Prompt text\nx\n", "film.yaml:4:12", "no column called prompt"),
    ("a.csv", b"prompt\nok\ncaf\xe9\n", "a.csv:3:1", "not UTF-8"),
    ("a.csv", b"prompt\nok\nx\0y\n", "a.csv:3:1", "NUL"),
    ("a.csv", "prompt\nok\nA ${{ lrod }}\n", "a.csv:3:1", "${{ lrod }} has no value"),
    ("a.csv", "prompt\nok\nA ${{ lrod\n", "a.csv:3:1", "never closed"),
    ("a.csv", "id,prompt\nok,a\na/b,c\n", "a.csv:3:1", "can't name a file"),
    ("a.csv", "prompt\nok\n" + "x" * 200_000 + "\n", "a.csv:3:1", "can't be read"),
    ("a.jsonl", '{"prompt": "a"}\n{"prompt": \n', "a.jsonl:2:11", "not JSON"),
    ("a.jsonl", '{"prompt": NaN}\n', "a.jsonl:1:1", "NaN"),
    ("a.jsonl", '["a"]\n', "a.jsonl:1:1", "a row has to be an object"),
    ("a.jsonl", '{"prompt": ["a"]}\n', "a.jsonl:1:1", "the prompt has to be text"),
    ("a.jsonl", '{"prompt": "\\ud800"}\n', "a.jsonl:1:1", "surrogate"),
    ("a.jsonl", '{"a": ' + "[" * 40 + "]" * 40 + "}\n", "a.jsonl:1:1", "deeper than 32"),
    ("a.jsonl", '{"a": ' + "[" * 9000 + "]" * 9000 + "}\n", "a.jsonl:1:1", "deep"),
    ("a.txt", b"ok\n\xff\xfe\n", "a.txt:2:1", "not UTF-8"),
    ("a.txt", "a\n".encode("utf-16"), "a.txt:1:1", "UTF-16"),
    ("a.txt", "x" * 1_000_001, "a.txt:1:1", "longer than 1 MB"),
    ("a.doc", "x", "film.yaml:4:12", "is no table"),
    ("b.csv", "prompt\nx\n", "film.yaml:4:12", "there is no file a.csv"),
    ("../a.csv", "prompt\nx\n", "film.yaml:4:12", "leaves the manifest's folder"),
]


def expect(found: list[str], place: str, words: str) -> None:
    """One of the messages stands at this place and says this."""
    assert any(line.startswith(f"{place}: ") and words in line for line in found), found


@pytest.mark.parametrize(("body", "place", "words"), [*SHAPE, *VARIABLES, *NAMES])
def test_every_mistake_is_named_where_it_stands(
    folder: Any, body: str, place: str, words: str
) -> None:
    """A mistake is reported at its line and column, with what to write instead."""
    expect(folder.problems(body, cap=10), f"film.yaml:{place}", words)


@pytest.mark.parametrize(("head", "place", "words"), HEADS)
def test_who_and_what_are_needed(folder: Any, head: str, place: str, words: str) -> None:
    """Version, provider and model are required, and only names and paths."""
    expect(folder.problems(P, head=head), f"film.yaml:{place}", words)


@pytest.mark.parametrize(("body", "place", "words"), PICTURES)
def test_pictures_come_from_the_folder_only(folder: Any, body: str, place: str, words: str) -> None:
    """A picture that is missing, outside or none is refused before anything is sent."""
    folder.write("text.png", "not a picture")
    folder.write("sub/inner.txt", "x")
    expect(folder.problems(body), f"film.yaml:{place}", words)


@pytest.mark.parametrize(("data", "place", "words"), YAML)
def test_broken_yaml_is_named_where_it_breaks(
    folder: Any, data: bytes, place: str, words: str
) -> None:
    """What isn't the YAML that we read is reported at its line and column."""
    expect(folder.problems(data), f"film.yaml:{place}", words)


@pytest.mark.parametrize(("name", "content", "place", "words"), ROWS)
def test_bad_rows_are_named_by_their_line(
    folder: Any, name: str, content: str | bytes, place: str, words: str
) -> None:
    """A row that can't be used is reported with its file and line."""
    folder.write(name if name != "../a.csv" else "unused.csv", content)
    wanted = name if name in ("a.doc", "../a.csv") else "a" + name[1:]
    expect(folder.problems(f"prompts: [{{from: {wanted}}}]\n"), place, words)


def test_all_mistakes_come_at_once(folder: Any) -> None:
    """Ten different mistakes in one file give ten messages, each with its line and column."""
    body = """version: 1
provider: fal
model: https://queue.fal.run/fal-ai/x
nmae: x
budget: 25
timeout: soon
limits: {in_flight: 0}
params: {image_url: nope.png}
prompts:
  - A ${{ lord }} walks
  - {prompt: a, repeat: 0}
  - {prompt: b, id: a/b}
  - from: missing.csv
"""
    found = folder.problems(body, head="")
    places = [line.split(": ")[0] for line in found]
    assert places == [
        f"film.yaml:{place}"
        for place in ("3:1", "4:1", "5:1", "6:1", "7:10", "8:21", "10:7", "11:17", "12:21", "13:5")
    ], found


def test_a_name_that_stands_twice_hides_no_other_mistake(folder: Any) -> None:
    """A duplicate key is told with the rest; what only its second value uses is not called unused."""
    body = """version: 1
provider: fal
model: a/b
vars: {film: 35mm}
prompts: [a]
budget: 25
params: {seed: 1, seed: 2, image_url: nope.png}
prompts: ['${{ film }}']
"""
    found = folder.problems(body, head="")
    places = [line.split(": ")[0] for line in found]
    assert places == [f"film.yaml:{place}" for place in ("6:1", "7:19", "7:39", "8:1")], found


def test_names_in_messages_are_harmless(folder: Any) -> None:
    """What a stranger wrote is shown without characters that a terminal obeys."""
    found = folder.problems('"a\\e[31m\\u202eb": 1\n' + P)
    assert found
    assert all(char.isprintable() for line in found for char in line)


def test_a_missing_manifest_is_a_mistake_of_the_caller(folder: Any) -> None:
    """No such file, and a folder, are reported like any other mistake."""
    with pytest.raises(ManifestError, match="there is no such file"):
        load(folder.path / "nope.yaml", now=0.0)
    with pytest.raises(ManifestError, match=r"folder|read"):
        load(folder.path, now=0.0)
