"""From a manifest to jobs: what is made, what it is called, and what stays the same from run to run."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from runner.budget import Money
from runner.errors import ManifestError
from runner.job import job_key
from runner.limits import Limits, Rate
from runner.manifest import Draft, count, load

from .conftest import HEAD, NOW, PNG

SAMPLE = """\
# yaml-language-server: $schema=manifest.schema.json
version: 1
name: noble-lords                     # batch name; default: the file's stem; may hold ${{ date }}
provider: quickrouter
model: fal-ai/kling-video/v2.5-turbo/pro/text-to-video
params:                               # request body, in the API's own field names
  duration: 5
  aspect_ratio: ${{ ratio }}
  negative_prompt: blur, distort, and low quality
  cfg_scale: 0.5
vars: {film: 35mm film}
matrix:                               # every combination, GitHub Actions semantics for include/exclude
  lord: [noble, humble]
  ratio: [16:9, 9:16]
prompts:
  - A ${{ lord }} lord walks among his people, ${{ film }}
  - prompt: He greets ${{ who }} with a gentle smile
    id: greeting                      # optional; otherwise a short content hash
    vars: {who: a child}
    params: {duration: 10}            # overrides
    repeat: 3                         # wanted duplicates
  - from: prompts.csv                 # .csv .tsv .jsonl .txt: one row one prompt; columns are variables
output: ${{ batch }}/${{ id }}-${{ lord }}.${{ ext }}
limits: {submits: 30/1m, in_flight: 20}
budget: 25 USD
on_doubt: hold                        # hold | resubmit
timeout: 2h                           # after this a running job is reported as stuck; it is still polled
x-anything: ignored, for anchors
"""


def keys(folder: Any, body: str) -> set[str]:
    """The keys of all jobs."""
    return {spec.key for spec in folder.specs(body)}


def test_the_documented_sample_loads_as_it_stands(folder: Any) -> None:
    """The manifest of the design makes its jobs, each request once, and says what it left out."""
    folder.write("prompts.csv", 'prompt,note\r\n"Rain, on a roof",a\r\nSnow,b\r\n')
    manifest = folder.load(SAMPLE, head="")
    assert (manifest.name, manifest.provider) == ("noble-lords", "quickrouter")
    assert manifest.budget == Money(25_000_000, "USD")
    assert manifest.limits == Limits(submits=Rate(30, 60.0), in_flight=20)
    assert (manifest.timeout, manifest.on_doubt, manifest.warnings) == (7200.0, "hold", ())
    assert count(manifest) >= 24
    drafts = folder.expand(SAMPLE, head="")
    specs = [draft.spec for draft in drafts]
    assert len(specs) == 4 + 2 * 3 + 2 * 2
    assert len(folder.warnings) == 2
    first = specs[0]
    assert list(first.params) == [
        "prompt", "duration", "aspect_ratio", "negative_prompt", "cfg_scale",
    ]  # fmt: skip
    assert first.params["prompt"] == "A noble lord walks among his people, 35mm film"
    assert first.params["aspect_ratio"] == "16:9"
    assert first.output == f"noble-lords/{first.id}-noble.${{{{ ext }}}}"
    assert [spec.index for spec in specs] == list(range(1, 15))


def test_ratios_arrive_as_text(folder: Any) -> None:
    """`16:9` without quotes is what the API gets, in params, axes and variables."""
    body = (
        "params: {a: 16:9, b: '${{ r }}', c: '${{ v }}'}\nvars: {v: 9:16}\n"
        "matrix: {r: [1:1]}\nprompts: [x]\n"
    )
    (spec,) = folder.specs(body)
    assert spec.params == {"prompt": "x", "a": "16:9", "b": "1:1", "c": "9:16"}


def test_nearer_variables_win(folder: Any) -> None:
    """Variables < matrix < row < item."""
    folder.write("rows.csv", "prompt,c,d\nx,row,row\n")
    body = """\
vars: {a: vars, b: vars, c: vars, d: vars}
matrix: {b: [matrix], c: [matrix], d: [matrix]}
params: {all: '${{ a }} ${{ b }} ${{ c }} ${{ d }}'}
prompts: [{from: rows.csv, vars: {d: item}}]
"""
    (spec,) = folder.specs(body)
    assert spec.params["all"] == "vars matrix row item"


def test_item_params_override_by_name_and_null_removes(folder: Any) -> None:
    """Fields are replaced whole, not merged; null takes one away."""
    body = (
        "params: {a: 1, b: {x: 1, y: 2}, c: 3}\n"
        "prompts: [p, {prompt: q, params: {b: {x: 9}, c: null, d: 4}}]\n"
    )
    first, second = folder.specs(body)
    assert first.params == {"prompt": "p", "a": 1, "b": {"x": 1, "y": 2}, "c": 3}
    assert second.params == {"prompt": "q", "a": 1, "b": {"x": 9}, "d": 4}


def test_a_bare_variable_keeps_its_type(folder: Any) -> None:
    """Numbers, truth values, lists and nulls go through `${{ x }}` unchanged; null removes the field."""
    folder.write("rows.jsonl", '{"prompt": "p", "n": 5, "on": true, "l": [{"a": 1}], "z": null}\n')
    body = (
        "params: {n: '${{ n }}', on: '${{ on }}', l: '${{ l }}', z: '${{ z }}', t: 'n${{ n }}'}\n"
        "prompts: [{from: rows.jsonl}]\n"
    )
    (spec,) = folder.specs(body)
    assert spec.params == {"prompt": "p", "n": 5, "on": True, "l": [{"a": 1}], "t": "n5"}


def test_values_are_never_looked_into(folder: Any) -> None:
    """A column that holds `${{ … }}` is sent as it stands, once the item has a template of its own."""
    folder.write("rows.csv", "who\n${{ secret }}\n")
    (spec,) = folder.specs("prompts: [{from: rows.csv, prompt: 'A ${{ who }}'}]\n")
    assert spec.params["prompt"] == "A ${{ secret }}"


def test_prompts_of_a_file_are_templates(folder: Any) -> None:
    """A row's prompt uses axes and columns, and an axis that only rows use counts as used."""
    folder.write("rows.txt", "# a comment\n\nA ${{ lord }} lord\n")
    found = folder.specs("matrix: {lord: [noble, humble]}\nprompts: [{from: rows.txt}]\n")
    assert [spec.prompt for spec in found] == ["A noble lord", "A humble lord"]


def test_built_in_variables(folder: Any) -> None:
    """Batch, date, time, index and repeat (both from 1) can be used, prompt and id in what comes after them."""
    body = """\
name: film-${{ date }}
params: {b: '${{ batch }}', i: '${{ id }}', n: '${{ index }}', r: '${{ repeat }}', p: '${{ prompt }}'}
prompts: [{prompt: hello, id: x, repeat: 2}]
output: ${{ batch }}/${{ date }}/${{ prompt }}-${{ repeat }}
"""
    first, second = folder.specs(body)
    date = first.batch.removeprefix("film-")
    assert len(date) == 10
    assert first.params["b"] == first.batch
    assert (first.params["i"], first.params["p"]) == ("x", "hello")
    assert [spec.params["r"] for spec in (first, second)] == [1, 2]
    assert [spec.params["n"] for spec in (first, second)] == [1, 2]
    assert second.output == f"film-{date}/{date}/hello-2.${{{{ ext }}}}"


def test_ids_are_short_and_differ(folder: Any) -> None:
    """A hash where none is written; the written one where it names one job; both where it names several."""
    body = """\
matrix: {r: [a, b]}
prompts:
  - 'p ${{ r }}'
  - {prompt: 'q ${{ r }}', id: both}
  - {prompt: 's ${{ r }}', id: 'each-${{ r }}', repeat: 2}
  - {prompt: one, id: My shot}
  - {prompt: other, id: My shot}
"""
    specs = folder.specs(body)
    ids = [spec.id for spec in specs]
    assert ids[0] == specs[0].key[:8]
    assert ids[2:4] == [f"both-{spec.key[:6]}" for spec in specs[2:4]]
    assert ids[4:8] == ["each-a", "each-a-2", "each-b", "each-b-2"]
    assert ids[8] == "My-shot"
    assert ids[9] == f"My-shot-{specs[9].key[:6]}"
    assert len(set(ids)) == len(ids)


def test_ids_differ_where_keys_begin_alike(folder: Any) -> None:
    """The second of two jobs whose keys begin with the same eight characters is called by twelve of its own."""
    first, second = folder.specs("prompts: [take 10751, take 61644]\n")
    assert first.key[:8] == second.key[:8] == first.id
    assert second.id == second.key[:12]


def test_an_id_that_looks_like_a_key_is_nobody_elses(folder: Any) -> None:
    """Who writes the id that another job would get from its key gets it, or a longer one if he comes second."""
    (plain,) = folder.specs("prompts: [plain]\n")
    written = f"{{prompt: other, id: '{plain.id.upper()}'}}"
    taken, longer = folder.specs(f"prompts: [{written}, plain]\n")
    assert (taken.id, longer.id) == (plain.id.upper(), plain.key[:12])
    kept, changed = folder.specs(f"prompts: [plain, {written}]\n")
    assert (kept.id, changed.id) == (plain.id, f"{plain.id.upper()}-{changed.key[:6]}")


def test_nothing_is_kept_of_a_job_but_digests(folder: Any) -> None:
    """Twice as many jobs take the same memory while they are made, and some bytes more for each."""

    def jobs_of(count: int) -> Iterator[Draft]:
        folder.write("rows.txt", "".join(f"take {at} {'x' * 500}\n" for at in range(count)))
        drafts: Iterator[Draft] = folder.expand("prompts: [{from: rows.txt}]\n")
        return drafts

    def peak(jobs: int) -> int:
        drafts = jobs_of(jobs)
        tracemalloc.start()
        try:
            assert sum(1 for _ in drafts) == jobs
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert sum(1 for _ in jobs_of(2_000)) == 2_000  # fills the caches that there are
    assert peak(2_000) - peak(1_000) < 1_000 * 200


def test_keys_are_those_of_the_job_module(folder: Any) -> None:
    """Batch, model, params, the written id and the copy are what a job is known by."""
    first, second = folder.specs("name: b\nprompts: [{prompt: p, id: x, repeat: 2}]\n")
    for spec, repeat in ((first, 0), (second, 1)):
        assert spec.key == job_key("b", "fal-ai/some/model", {"prompt": "p"}, "x", repeat)
        assert spec.repeat == repeat


def test_running_again_changes_no_key(folder: Any) -> None:
    """The same manifest has the same keys, whoever sells and however it is laid out."""
    body = "params: {d: 5}\nprompts: [a, {prompt: b, id: x, repeat: 2}]\n"
    once = keys(folder, body)
    assert keys(folder, body) == once
    assert (
        keys(folder, "params: {d: '5'}\nprompts:\n- a\n- prompt: b\n  id: x\n  repeat: 2\n") == once
    )
    other = HEAD.replace("fal\n", "winfull\n", 1)
    assert {spec.key for spec in folder.specs(body, head=other)} == once


def test_adding_adds_and_reordering_changes_nothing(folder: Any) -> None:
    """A new line is one new job; the order of lines is not part of a job."""
    once = keys(folder, "prompts: [a, b, c]\n")
    more = keys(folder, "prompts: [z, a, b, c]\n")
    assert once < more
    assert len(more) == len(once) + 1
    assert keys(folder, "prompts: [c, a, b]\n") == once


def test_changing_what_is_bought_changes_the_key(folder: Any) -> None:
    """Name, model, params, id: each makes another job."""
    bodies = ["prompts: [a]\n", "name: n\nprompts: [a]\n", "params: {d: 5}\nprompts: [a]\n",
              "prompts: [{prompt: a, id: x}]\n", "prompts: [b]\n"]  # fmt: skip
    assert len(set().union(*(keys(folder, body) for body in bodies))) == len(bodies)


def test_the_same_request_is_bought_once(folder: Any) -> None:
    """Copies that nobody asked for are left out, with one warning at their line."""
    body = (
        "matrix: {r: [a, b], s: [1, 2]}\n"
        "prompts:\n  - 'p ${{ r }}'\n  - 'p ${{ r }}${{ s }}'\n  - p a\n"
    )
    drafts = folder.expand(body)
    assert len(list(drafts)) == 2 + 4
    assert [(one.line, one.message[:18]) for one in folder.warnings] == [
        (6, "2 of 4 combination"), (8, "4 of 4 combination"),
    ]  # fmt: skip


def test_an_item_may_have_no_prompt(folder: Any) -> None:
    """Whether a model needs one is not the manifest's business."""
    (spec,) = folder.specs("prompts: [{params: {multi_prompt: [{index: 1, prompt: x}]}}]\n")
    assert spec.params == {"multi_prompt": [{"index": 1, "prompt": "x"}]}
    (spec,) = folder.specs("params: {d: 5, prompt: shared}\nprompts: [{id: x}]\n")
    assert list(spec.params.items()) == [("prompt", "shared"), ("d", 5)]


def test_places_lead_to_what_was_written(folder: Any) -> None:
    """A field is found in the item, else at the top level, else at the item; what a row gave is at its row."""
    folder.write("rows.csv", "prompt,len\nx,5\ny,10\n")
    body = """\
params:
  cfg_scale: 0.5
  duration: 5
prompts:
  - prompt: a
    params: {duration: 10, list: [{deep: 1}]}
  - b
  - from: rows.csv
    params: {duration: '${{ len }}'}
"""
    wheres = [draft.where for draft in folder.expand(body)]

    def at(number: int, *path: str | int) -> str:
        file, line, column = wheres[number].locate(*path)
        return f"{file[len(str(folder.path)) + 1 :]}:{line}:{column}"

    assert at(0, "duration") == "film.yaml:9:14"
    assert at(0, "list", 0, "deep") == "film.yaml:9:36"
    assert at(0, "cfg_scale") == at(2, "cfg_scale") == "film.yaml:5:3"
    assert at(0, "prompt") == "film.yaml:8:5"
    assert at(1, "duration") == "film.yaml:6:3"
    assert at(1, "prompt") == at(1, "nothing") == at(1) == "film.yaml:10:5"
    assert at(2, "duration") == at(2, "prompt") == at(2) == "rows.csv:2:1"
    assert at(3, "duration") == "rows.csv:3:1"


def test_nothing_is_given_out_after_a_mistake(folder: Any) -> None:
    """From the first bad row on no job comes out, and all bad rows are named."""
    folder.write("rows.csv", "id,prompt\nok,a\nb/d,b\nok2,c\nb?d,d\n")
    drafts = folder.expand("prompts: [{from: rows.csv}]\n")
    seen: list[str] = []
    with pytest.raises(ManifestError) as caught:
        seen.extend(draft.spec.id for draft in drafts)
    assert seen == ["ok"]
    assert [problem.line for problem in caught.value.problems] == [3, 5]


def test_rows_stop_at_the_cap(folder: Any) -> None:
    """Rows are counted as they come, times the matrix; one job over the cap is a mistake."""
    folder.write("rows.txt", "\n".join(f"p{at}" for at in range(6)))
    body = "matrix: {r: [a, b]}\nparams: {r: '${{ r }}'}\nprompts: [{from: rows.txt}]\n"
    assert len(list(folder.expand(body, cap=12))) == 12
    (problem,) = folder.problems(body, cap=11)
    assert "rows.txt:6:1: more than 11 jobs" in problem


def test_rows_are_streamed(folder: Any) -> None:
    """The first job is there before the last row is read."""
    rows = "".join(json.dumps({"prompt": f"p{at}"}) + "\n" for at in range(5_000))
    folder.write("rows.jsonl", rows + "broken\n")
    drafts = folder.expand("prompts: [{from: rows.jsonl}]\n")
    assert next(drafts).spec.prompt == "p0"


def test_tables_in_all_their_forms(folder: Any) -> None:
    """Commas, semicolons, tabs, BOM, CRLF, quoted line breaks and blank lines are all read."""
    folder.write("a.csv", '\ufeffprompt,id\r\n"two\r\nlines",x\r\n\r\n"say ""hi""",y\r\n')
    folder.write("b.csv", "prompt;id\nsemi, colon;z\n")
    folder.write("c.tsv", "prompt\tid\ntab\tt\n")
    folder.write("d.jsonl", '\ufeff{"prompt": "j"}\r\n\r\n{"prompt": "k", "id": 7}\r\n')
    body = "prompts: [{from: a.csv}, {from: b.csv}, {from: c.tsv}, {from: d.jsonl}]\n"
    specs = folder.specs(body)
    assert [spec.prompt for spec in specs] == [
        "two\r\nlines", 'say "hi"', "semi, colon", "tab", "j", "k",
    ]  # fmt: skip
    assert [spec.id for spec in specs] == ["x", "y", "z", "t", specs[4].key[:8], "7"]
    wheres = [draft.where.locate() for draft in folder.expand(body)]
    assert [line for _, line, _ in wheres[:2]] == [2, 5]


def test_a_file_outside_is_not_read(folder: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A symbolic link out of the folder is followed before it is refused; one inside is fine."""
    secret = tmp_path_factory.mktemp("elsewhere") / "rows.txt"
    secret.write_text("secret")
    (folder.path / "out.txt").symlink_to(secret)
    folder.write("sub/rows.txt", "fine")
    (folder.path / "in.txt").symlink_to(folder.path / "sub" / "rows.txt")
    (found,) = folder.problems("prompts: [{from: out.txt}]\n")
    assert "leads out of the manifest's folder" in found
    assert folder.specs("prompts: [{from: in.txt}]\n")[0].prompt == "fine"


def test_local_pictures_are_described(folder: Any) -> None:
    """A path becomes its real path, hash, type and size; URLs, data URIs and base64 pass as they are."""
    folder.write("in/start.png", PNG)
    folder.write("rows.csv", "image\nin/start.png\nhttps://example.com/x.jpg\n")
    body = """\
params:
  image_list: [{image: in/start.png}, {image_url: 'https://example.com/a'}]
  input_image_urls: [in/start.png]
  image_tail: %s
  image: ${{ image }}
  label: in/start.png
prompts: [{from: rows.csv}]
"""
    first, second = folder.specs(body % ("A" * 600))
    marker = first.params["image"]["$image"]
    assert marker["path"] == str((folder.path / "in/start.png").resolve())
    assert (marker["media_type"], marker["size"], len(marker["sha256"])) == ("image/png", 32, 64)
    assert first.params["image_list"][0] == {"image": {"$image": marker}}
    assert first.params["image_list"][1] == {"image_url": "https://example.com/a"}
    assert first.params["input_image_urls"] == [{"$image": marker}]
    assert first.params["image_tail"] == "A" * 600
    assert first.params["label"] == "in/start.png"
    assert second.params["image"] == "https://example.com/x.jpg"


def test_a_row_cannot_smuggle_a_picture_in(folder: Any) -> None:
    """The mark of a found picture can't be written by hand, not in a row either."""
    folder.write("rows.jsonl", '{"prompt": "p", "x": {"\\u0024image": {"path": "/etc/passwd"}}}\n')
    (found,) = folder.problems("params: {a: '${{ x }}'}\nprompts: [{from: rows.jsonl}]\n")
    assert found.startswith("rows.jsonl:1:1: a: ")
    assert "starts with $" in found


def test_a_large_picture_is_refused(folder: Any) -> None:
    """Ten million bytes are the limit."""
    folder.write("big.png", PNG + b"\0" * 10_000_000)
    (found,) = folder.problems("params: {image: big.png}\nprompts: [a]\n")
    assert "10 MB is the limit" in found


def test_what_changes_by_itself_is_warned_about(folder: Any) -> None:
    """A request that holds the time or its own position will be bought again: the manifest says so."""
    manifest = folder.load("prompts: ['at ${{ time }}', 'no ${{ index }}']\n")
    assert [warning.message[:12] for warning in manifest.warnings] == [
        "${{ time }} ",
        "${{ index }}",
    ]
    assert not folder.load("prompts: [a]\noutput: ${{ time }}-${{ index }}\n").warnings


def test_the_name_is_that_of_the_file(folder: Any) -> None:
    """Without name: the batch is called like the manifest, made safe."""
    path = folder.write("my film! (2).yaml", HEAD + "prompts: [a]\n")
    assert load(path, now=NOW).name == "my film- -2"


def test_a_file_that_cannot_be_read_is_one_mistake(folder: Any) -> None:
    """What a missing table would have used is not complained about as well."""
    body = "vars: {a: 1}\nmatrix: {r: [1, 2]}\nprompts: [{from: no.csv, prompt: '${{ col }}'}]\n"
    assert len(folder.problems(body)) == 1
