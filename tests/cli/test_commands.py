"""What can be typed, and what is answered before anything is sent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.options import hoisted
from runner.manifest import schema
from tests.cli.conftest import Call
from tests.cli.stage import Sim, environment

OWN = {"run": frozenset({"--limit"}), "jobs": frozenset({"--state", "--limit"})}
TEN_MISTAKES = """\
version: 1
provider: fal
model: /fal-ai/kling-video/v2.5-turbo/pro/text-to-video
budget: lots
on_doubt: maybe
timeuot: 2h
limits: {in_flight: 0, submits: fast}
matrix: {unused: [1, 2]}
output: ../${{ id }}.mp4
prompts:
  - A ${{ nobody }} walks
  - {prompt: A boat, repeat: 0}
"""
LOADED = """
import sys
from runner.cli import main
for words in sys.argv[2:]:
    try:
        main(words.split())
    except SystemExit as left:
        print("LEFT", left.code)
print("LOADED", sorted(set(sys.argv[1].split()) & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("typed", "ordered"),
    [
        ("run m.yaml --state s --json", "--state s --json run m.yaml"),
        ("run -q --providers=p.yaml m.yaml", "-q --providers=p.yaml run m.yaml"),
        ("--state s jobs --state failed", "--state s jobs --state failed"),
        ("jobs --state failed -v", "-v jobs --state failed"),
        ("run -- --json", "run -- --json"),
        ("status run --json", "--json status run"),
        ("run m.yaml --state", "--state run m.yaml"),
    ],
)
def test_general_options_stand_before_or_after(typed: str, ordered: str) -> None:
    """A general option may follow the command, unless the command has one of that name."""
    own = {**OWN, "status": frozenset[str]()}
    assert hoisted(typed.split(), own) == ordered.split()


def test_looking_loads_no_network(place: Path) -> None:
    """What only looks starts without the network's library, so that it answers at once."""
    looks = (
        "--help",
        "run --help",
        "plan film.yaml",
        "status",
        "jobs",
        "show x",
        "resolve",
        "verify",
        "providers",
        "schema",
    )
    codes, loaded = after(place, "aiohttp runner.app runner.simulator.server", *looks)
    assert codes == ["0", "0", "0", "0", "0", "2", "0", "0", "0", "0"]
    assert loaded == "LOADED []"


def test_help_loads_what_reads_a_command_line(place: Path) -> None:
    """`--help` costs little more than typer: no table is drawn, no manifest checked, no database opened for it."""
    codes, loaded = after(place, "rich pydantic pydantic_core yaml sqlite3 asyncio", "--help")
    assert codes == ["0"]
    assert loaded == "LOADED []"


def after(place: Path, watched: str, *commands: str) -> tuple[list[str], str]:
    """Run commands in one new interpreter: their exit codes, and which of the `watched` modules that loaded."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, watched, *commands], cwd=place, env=environment(),
        capture_output=True, text=True, encoding="utf-8", timeout=60, check=True,
    )  # fmt: skip
    codes = re.findall(r"^LEFT (\d+)$", done.stdout, re.MULTILINE)
    return codes, done.stdout.splitlines()[-1]


def test_nothing_typed_shows_help(call: Call) -> None:
    """`runner` alone names the commands and is no error."""
    said = call()
    assert said.code == 0
    for name in (
        "demo",
        "init",
        "plan",
        "run",
        "resume",
        "status",
        "jobs",
        "show",
        "resolve",
        "retry",
        "cancel",
        "verify",
        "simulate",
        "providers",
        "schema",
    ):
        assert f"\n  {name} " in said.out


def test_a_wrong_word_is_a_usage_error(call: Call) -> None:
    """A mistyped command or option ends with 2 and a suggestion."""
    said = call("statsu")
    assert said.code == 2
    assert "status" in said.err
    assert call("run", "film.yaml", "--fast").code == 2


def test_every_mistake_at_once(call: Call, sim: Sim, place: Path) -> None:
    """Ten mistakes get ten lines with place, a count, and nothing is sent."""
    (place / "bad.yaml").write_text(TEN_MISTAKES, "utf-8")
    said = call("--providers", sim.providers, "run", "bad.yaml")
    lines = said.err.splitlines()
    assert said.code == 2
    assert said.out == ""
    assert len(lines) == 11, said.err
    assert all(re.match(r"bad\.yaml:\d+:\d+: ", line) for line in lines[:-1]), said.err
    assert lines[-1] == "10 mistakes; nothing was sent"
    assert sim.requests == []
    assert not (place / "state" / "runner.db").exists()


def test_a_name_that_stands_twice_hides_nothing(call: Call, place: Path) -> None:
    """With a duplicate key on top there is one line more: the other mistakes are told all the same."""
    twice = TEN_MISTAKES.replace("version: 1\n", "version: 1\nversion: 1\n", 1)
    (place / "bad.yaml").write_text(twice, "utf-8")
    lines = call("run", "bad.yaml").err.splitlines()
    assert lines[0].startswith("bad.yaml:2:1: version stands twice, first on line 1")
    assert len(lines) == 12, lines
    assert lines[-1] == "11 mistakes; nothing was sent"


def test_mistakes_as_json(call: Call, place: Path) -> None:
    """Under --json the mistakes are on stdout as one record, with line and column as numbers."""
    (place / "bad.yaml").write_text("version: 1\nprovider: fal\n", "utf-8")
    [record] = call("plan", "bad.yaml", "--json").records
    assert record["exit_code"] == 2
    assert {problem["line"] for problem in record["problems"]} <= {1, 2, 0}
    assert record["problems"]


def test_plan_says_what_would_be_bought(call: Call, place: Path) -> None:
    """A plan counts jobs, names host, paths and price, and leaves nothing behind."""
    said = call("plan", "film.yaml")
    assert said.code == 0
    for fact in (
        "4 new jobs to buy",
        "queue.fal.run",
        "1.40 USD",
        "A boat at dawn",
        "film/",
        "Nothing has been sent",
    ):
        assert fact in said.out
    assert not (place / "state").exists()


def test_a_manifest_that_grew_by_mistake_is_refused(call: Call) -> None:
    """`--max-jobs` holds for a plan and for a run, and the message names it."""
    for command in ("plan", "run"):
        said = call(command, "film.yaml", "--max-jobs", "3")
        assert said.code == 2
        assert "more than 3. Use fewer, or raise --max-jobs" in said.err


def test_plan_as_json(call: Call) -> None:
    """Under --json a plan is one record."""
    [record] = call("--json", "plan", "film.yaml").records
    assert (record["new"], record["batch"], record["price"]) == (4, "film", "1.40 USD")


def test_init_starts_somebody_off(call: Call, place: Path) -> None:
    """What `init` writes is a manifest that can be planned at once, with a schema beside it."""
    assert call("init", "new").code == 0
    folder = place / "new"
    first = (folder / "manifest.yaml").read_text("utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=manifest.schema.json"
    assert json.loads((folder / "manifest.schema.json").read_text("utf-8")) == schema()
    assert {"state/", ".env"} <= set((folder / ".gitignore").read_text("utf-8").splitlines())
    said = call("--providers", folder / "providers.yaml", "plan", folder / "manifest.yaml")
    assert (said.code, said.err) == (0, "")


def test_init_keeps_what_is_there(call: Call, place: Path) -> None:
    """A second `init` writes nothing over anybody's work."""
    (place / "manifest.yaml").write_text("mine", "utf-8")
    said = call("init")
    assert said.code == 0
    assert (place / "manifest.yaml").read_text("utf-8") == "mine"
    assert "kept     manifest.yaml" in said.out


def test_schema_is_printed_or_written(call: Call, place: Path) -> None:
    """The schema on stdout and the one in a file are the manifest's."""
    assert json.loads(call("schema").out) == schema()
    assert call("schema", "--write", "s.json").code == 0
    assert json.loads((place / "s.json").read_text("utf-8")) == schema()


def test_providers_tell_whether_a_key_is_set(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list names each key's variable and whether it is set, and never the key."""
    monkeypatch.setenv("FAL_KEY", "canary-0123456789")
    said = call("providers")
    assert re.search(r"^fal .* FAL_KEY \(set\)", said.out, re.MULTILINE)
    assert re.search(r"^uniapi .* Key UNIAPI_API_KEY \(not set\)", said.out, re.MULTILINE)
    assert "canary" not in said.out + said.err + call("providers", "--json").out


def test_an_empty_state_says_how_to_begin(call: Call) -> None:
    """Looking at nothing is no error, and names the first command."""
    said = call("status")
    assert said.code == 0
    assert "runner run MANIFEST" in said.out
    assert call("status", "--json").records[0]["batches"] == []


def test_simulate_passes_its_options_on(call: Call) -> None:
    """`runner simulate` takes the simulator's own options."""
    said = call("simulate", "--list-systems")
    assert said.code == 0
    assert "kling-gateway" in said.out
