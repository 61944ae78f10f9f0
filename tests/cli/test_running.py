"""`run` and `resume`, and looking at what they did."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.cli.errors import exit_code_for
from runner.cli.general import begin
from runner.cli.running import next_moment
from runner.errors import UsageError
from runner.store.lock import RunnerLock
from tests.cli.conftest import MANIFEST, Call
from tests.cli.stage import Sim

CANARY = "sk-canary-5d1f0b7e9a"


def test_a_good_run(call: Call, sim: Sim, place: Path) -> None:
    """Every clip is in its place, the summary says so, and the exit code is 0."""
    said = call("--providers", sim.providers, "run", "film.yaml")
    assert (said.code, said.err) == (0, "")
    assert "4 of 4 done" in said.out
    assert "spent 1.40 USD" in said.out
    assert "exit 0" in said.out
    assert len(list((place / "state" / "outputs" / "film").glob("*.mp4"))) == 4
    assert "\r" not in said.out


def test_running_again_buys_nothing(call: Call, sim: Sim) -> None:
    """The same command a second time finds everything done."""
    for _ in range(2):
        assert call("--providers", sim.providers, "run", "film.yaml").code == 0
    assert len(sim.bought) == 4


def test_json_is_nothing_but_json(call: Call, sim: Sim) -> None:
    """Under --json each line of stdout is a record; the last one is the summary."""
    said = call("--providers", sim.providers, "--json", "run", "film.yaml")
    records = said.records
    assert records[0]["type"] == "begin"
    assert [each["event"] for each in records if each["type"] == "job"].count("saved") == 4
    last = records[-1]
    assert (last["type"], last["exit_code"], last["batches"][0]["counts"]["done"]) == (
        "summary",
        0,
        4,
    )
    assert said.err == ""


def test_a_good_night_is_silent(call: Call, sim: Sim) -> None:
    """Under -q a run that went well prints nothing at all."""
    said = call("--providers", sim.providers, "run", "film.yaml", "-q")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_failures_are_named_by_cause(call: Call, sim: Sim, place: Path) -> None:
    """A refused prompt ends with 3, its cause and the command that fixes it; also under -q."""
    (place / "film.yaml").write_text(MANIFEST + "  - {prompt: A forbiddenword, id: bad}\n", "utf-8")
    said = call("--providers", sim.providers, "run", "film.yaml")
    assert said.code == 3
    for fact in (
        "failed     bad",
        "4 of 5 done",
        "content_policy",
        "Failures by cause",
        "run film.yaml",
    ):
        assert fact in said.out
    quiet = call("--providers", sim.providers, "run", "film.yaml", "-q")
    assert quiet.code == 3
    assert "content_policy" in quiet.out
    assert "Outputs" not in quiet.out


def test_looking_at_what_was_done(call: Call, sim: Sim) -> None:
    """`status`, `jobs` and `show` tell the same story, for people and as JSON."""
    call("--providers", sim.providers, "run", "film.yaml")
    assert "4 of 4 done" in call("status", "film").out
    assert call("jobs", "film", "--state", "done").out.count("film/") == 4
    assert call("jobs", "--state", "failed").out == "No such jobs.\n"
    jobs = call("jobs", "--json", "--limit", "2").records
    assert len(jobs) == 2
    shown = call("show", jobs[0]["key"][:10]).out
    for fact in ("Attempt 1", "0.35 USD", "Saved", jobs[0]["remote_id"], "state/outputs/film/"):
        assert fact in shown.replace("\\", "/")
    [whole] = call("show", f"film/{jobs[1]['id']}", "--json").records
    assert whole["params"]["prompt"] == jobs[1]["prompt"]
    assert [each["event"] for each in whole["history"]][-1] == "Saved"


def test_unknown_names_get_suggestions(call: Call, sim: Sim) -> None:
    """A name that is not there ends with 2 and what may have been meant."""
    call("--providers", sim.providers, "run", "film.yaml")
    key = call("jobs", "--json").records[0]["id"]
    assert "Did you mean: film?" in call("status", "flim").err
    assert f"Did you mean: {key}" in call("show", key[:4]).err
    assert "Did you mean running?" in call("jobs", "--state", "runing").err
    assert "content_policy" in call("jobs", "--cause", "content_polcy").err
    assert call("show", "nothing").code == 2


def test_a_missing_key_sends_nothing(call: Call, sim: Sim, place: Path) -> None:
    """Without a key the run ends with 6 before any request, and says which variable to set."""
    (place / "providers.yaml").write_text(sim.providers.read_text("utf-8"), "utf-8")
    said = call("run", "film.yaml")
    assert said.code == 6
    assert "FAL_KEY" in said.err
    assert sim.requests == []


def test_one_runner_at_a_time(call: Call, sim: Sim, place: Path) -> None:
    """A held state folder ends with 7 and names the holder; --if-running skip makes it a silent 0."""
    (place / "state").mkdir()
    lock = RunnerLock(place / "state" / "runner.lock", 1_800_000_000.0)
    said = call("--providers", sim.providers, "run", "film.yaml")
    assert said.code == 7
    assert f"process {os.getpid()}" in said.err
    skipped = call("--providers", sim.providers, "run", "film.yaml", "--if-running", "skip")
    assert (skipped.code, skipped.out, skipped.err) == (0, "", "")
    assert sim.requests == []
    lock.release()


def test_a_time_limit_ends_with_8(call: Call, sim: Sim) -> None:
    """When the time is over the rest waits, the exit code is 8, and resume is what comes next."""
    sim.fault(name="never-finishes")
    said = call("--providers", sim.providers, "run", "film.yaml", "--max-duration", "1s")
    assert said.code == 8
    assert said.out.splitlines()[-1] == f"Next     runner --providers {sim.providers} resume"


def test_resume_finishes_what_was_left(call: Call, sim: Sim) -> None:
    """--limit leaves jobs queued; resume needs no manifest to finish them."""
    call("--providers", sim.providers, "run", "film.yaml", "--limit", "1")
    assert len(sim.bought) == 1
    said = call("--providers", sim.providers, "resume")
    assert said.code == 0
    assert "4 of 4 done" in said.out
    assert "every batch is finished" in call("--providers", sim.providers, "resume").out


def test_a_budget_ends_with_5(call: Call, sim: Sim) -> None:
    """What does not fit the budget is not sent, and the exit code says so."""
    said = call("--providers", sim.providers, "run", "film.yaml", "--budget", "0.75 USD")
    assert said.code == 5
    assert len(sim.bought) == 2
    assert "budget" in said.out


@pytest.mark.parametrize(
    "wrong",
    [
        ("--until", "7 o'clock"),
        ("--max-duration", "soon"),
        ("--budget", "lots"),
        ("--budget", "0 USD"),
    ],
)
def test_wishes_that_make_no_sense(call: Call, sim: Sim, wrong: tuple[str, str]) -> None:
    """A time, duration or budget that can't be read ends with 2 and how to write it."""
    said = call("--providers", sim.providers, "run", "film.yaml", *wrong)
    assert said.code == 2
    assert wrong[0] in said.err
    assert "Write" in said.err
    assert sim.requests == []


def test_one_path_for_two_jobs_is_found_before_anything_is_sent(
    call: Call, sim: Sim, place: Path
) -> None:
    """Two jobs that would write the same file end the command with 2, without a request."""
    (place / "film.yaml").write_text(MANIFEST + "output: same\n", "utf-8")
    said = call("--providers", sim.providers, "run", "film.yaml")
    assert said.code == 2
    assert "both write" in said.err
    assert sim.requests == []


def test_until_is_the_next_such_time() -> None:
    """07:00 is this morning's before seven, and tomorrow's from seven on."""
    seven = next_moment("07:00", 1_800_000_000.0)
    assert 0 < seven - 1_800_000_000.0 <= 25 * 3600
    assert next_moment("07:00", seven - 1) == seven
    assert 23 * 3600 <= next_moment("07:00", seven) - seven <= 25 * 3600
    with pytest.raises(UsageError, match="07:00"):
        next_moment("25:00", 0.0)


def test_a_key_is_in_no_output(
    call: Call, sim: Sim, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is sent to its provider and appears nowhere else: not on the screen, not in any file."""
    monkeypatch.setenv("FAL_KEY", CANARY)
    sim.fault(name="truncated-json", times=1)
    said = [
        call("--providers", sim.providers, *words)
        for words in (("run", "film.yaml", "-v"), ("status", "--json"), ("jobs",), ("providers",))
    ]
    assert any(CANARY in entry["key"] for entry in sim.requests)
    assert all(CANARY not in each.out + each.err for each in said)
    files = [path for path in (place / "state").rglob("*") if path.is_file()]
    assert files
    assert all(CANARY.encode() not in path.read_bytes() for path in files)


def _raised() -> Exception:
    """An error with a traceback and a cause, both of which hold a key."""
    with pytest.raises(RuntimeError) as caught:
        _go_wrong()
    return caught.value


def _go_wrong() -> None:
    try:
        json.loads(CANARY)
    except ValueError as error:
        raise RuntimeError(f"went wrong with {CANARY}") from error


@pytest.mark.parametrize("verbose", [False, True])
def test_an_internal_error_is_short_and_masked(
    capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    """A mistake of this program ends with 1 and one line; -v adds the traceback; neither holds a key."""
    out = begin().out
    out.verbose = verbose
    out.mask_with(lambda text: text.replace(CANARY, "***"))
    assert exit_code_for(out, _raised()) == 1
    said = capsys.readouterr().err
    assert "internal error: RuntimeError: went wrong with ***" in said
    assert ("Traceback" in said) is verbose
    assert CANARY not in said
