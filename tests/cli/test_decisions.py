"""`resolve`, `retry`, `cancel` and `verify`: what is shown before a decision, and what comes of it."""

from __future__ import annotations

import io
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.clock import Clock
from runner.store.lock import RunnerLock
from tests.cli.conftest import Call
from tests.cli.stage import Said, Sim

ONE = """\
version: 1
name: film
provider: {provider}
model: {model}
params: {{duration: 5}}
prompts:
  - {{prompt: "{prompt}", id: boat}}
"""
FAL_MODEL = "fal-ai/kling-video/v2.5-turbo/pro/text-to-video"
RESOLVE = """\
film/boat  in doubt
  sent       TIME, attempt 1
  provider   winfull at HOST
  model      fal-ai/kling-video/v2.5-turbo/pro/text-to-video
  reference  KEY-1
  digest     DIGEST
  prompt     A boat comes home
  price      0.35 USD
  came back  “POST /as/winfull/fal-ai/kling-video/v2.5-turbo/pro/text-to-video: DETAIL”
  look for   a request to fal-ai/kling-video/v2.5-turbo/pro/text-to-video about TIME, in the account's \
request history or task log
  it is there               runner --providers FILE resolve film/boat --adopt REMOTE_ID
  it is not: send it again  runner --providers FILE resolve film/boat --lost
  billed, and no clip       runner --providers FILE resolve film/boat --paid

1 job in doubt, up to 0.35 USD. To send one again although it may be paid twice: \
runner --providers FILE resolve JOB --resubmit
"""


class Person(io.StringIO):
    """A standard input with somebody at it."""

    def isatty(self) -> bool:
        """Yes."""
        return True


class Desk:
    """The command, told where the simulator is, and a manifest of one job."""

    def __init__(self, call: Call, sim: Sim, place: Path) -> None:
        self._call = call
        self.sim = sim
        self.place = place

    def __call__(self, *args: str | Path) -> Said:
        """Type a command."""
        return self._call("--providers", self.sim.providers, *args)

    def write(self, provider: str = "fal", prompt: str = "A boat comes home") -> None:
        """Write the manifest."""
        model = "v1/videos/text2video" if provider == "kling" else FAL_MODEL
        text = ONE.format(provider=provider, model=model, prompt=prompt)
        (self.place / "film.yaml").write_text(text, "utf-8")

    def in_doubt(self, provider: str = "fal") -> Said:
        """Run, and lose the answer to the submit."""
        self.write(provider)
        self.sim.fault(name="accepted-then-dropped", times=1)
        said = self("run", "film.yaml")
        assert said.code == 4, said
        return said

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs are where."""
        (record,) = self("status", "--json").records
        counts: dict[str, int] = record["batches"][0]["counts"]
        return {state: number for state, number in counts.items() if number}


@pytest.fixture
def desk(call: Call, sim: Sim, place: Path) -> Desk:
    """A desk with one job."""
    desk = Desk(call, sim, place)
    desk.write()
    return desk


def test_a_doubt_ends_a_run_with_4(desk: Desk) -> None:
    """An answer lost at a reseller without look-up needs a person, and the last line says what to type."""
    said = desk.in_doubt("winfull")
    assert "1 needs you" in said.out
    assert said.out.splitlines()[-1] == f"Next     runner --providers {desk.sim.providers} resolve"
    assert len(desk.sim.bought) == 1


def test_a_full_disk_ends_a_run_with_9(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for a clip the run stops with 9; with room again nothing is bought twice."""
    used = shutil.disk_usage(desk.place)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _path: used._replace(free=0))
        said = desk("run", "film.yaml")
    assert said.code == 9
    assert "disk_full" in said.out
    assert desk("resume").code == 0
    assert len(desk.sim.bought) == 1


def test_an_unusable_state_folder_is_9(desk: Desk) -> None:
    """A state folder that can't be one ends with 9 before anything is sent."""
    (desk.place / "state").write_text("a file")
    said = desk("run", "film.yaml")
    assert (said.code, desk.sim.requests) == (9, [])
    assert "--state" in said.err


def test_what_is_in_doubt_is_shown_with_all_that_is_needed(desk: Desk) -> None:
    """Time with its zone, host, reference, digest, and three commands that can be copied."""
    desk.in_doubt("winfull")
    said = desk("resolve")
    shown = said.out.replace(str(desk.sim.providers), "FILE")
    for pattern, word in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"\b[0-9a-f]{32}(?=-1\b)", "KEY"),
        (r"127\.0\.0\.1:\d+", "HOST"),
        (r"(?<=video: )[^”]+", "DETAIL"),
    ):
        shown = re.sub(pattern, word, shown)
    assert (said.code, shown) == (0, RESOLVE)
    (facts,) = desk("resolve", "--json").records
    assert (facts["id"], facts["held"], len(facts["commands"])) == ("boat", True, 3)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", facts["host"])


def test_kling_is_asked_for_our_reference(desk: Desk) -> None:
    """Where a task carries our own id, that is what to look for; the price at stake is named."""
    desk.write("kling")
    desk.sim.fault(name="accepted-then-dropped", times=1)
    desk.sim.fault(name="server-error-on-poll")
    said = desk("run", "film.yaml", "--max-duration", "1s")
    assert said.code == 8
    assert "looked up at the provider" in said.out
    shown = desk("resolve").out
    assert "in doubt, the next run looks it up" in shown
    assert re.search(r"look for +a task whose external_task_id is [0-9a-f]{32}-1\n", shown)


def test_nothing_in_doubt_is_said(desk: Desk) -> None:
    """Without doubts, and without any jobs, there is nothing to settle; a done job is none either."""
    assert desk("resolve").out == "Nothing is in doubt.\n"
    desk("run", "film.yaml")
    assert desk("resolve").out == "Nothing is in doubt.\n"
    said = desk("resolve", "boat")
    assert (said.code, "film/boat is done, not in doubt" in said.err) == (2, True)


def test_a_doubt_is_settled_by_adoption(desk: Desk) -> None:
    """A wrong id changes nothing and ends with 3; the right one is fetched by what `Next` names."""
    desk.in_doubt()
    wrong = desk("resolve", "boat", "--adopt", "no-such-request")
    assert (wrong.code, "nothing was changed" in wrong.out) == (3, True)
    said = desk("resolve", "boat", "--adopt", desk.sim.bought[0]["id"])
    assert said.code == 0
    assert said.out.splitlines()[-1].endswith(" resume")
    assert desk("resume").code == 0
    assert (desk.counts, len(desk.sim.bought)) == ({"done": 1}, 1)


def test_all_doubts_of_a_batch_are_settled_at_once(desk: Desk) -> None:
    """--all with --batch takes every held job, and nothing else."""
    text = (desk.place / "film.yaml").read_text("utf-8")
    (desk.place / "film.yaml").write_text(text + "  - A tower\n  - A mill\n", "utf-8")
    desk.sim.fault(name="accepted-then-dropped", times=2)
    assert desk("run", "film.yaml").code == 4
    assert "All of a batch at once" in desk("resolve").out
    records = desk("resolve", "--batch", "film", "--all", "--paid", "--json").records
    assert [each["state"] for each in records] == ["failed", "failed"]
    assert desk.counts == {"done": 1, "failed": 2}
    assert desk("resolve", "--all", "--lost").out == "No such jobs.\n"


HALF = (
    ("resolve", "boat", "--lost", "--paid"),
    ("resolve", "--lost"),
    ("resolve", "--all"),
    ("resolve", "boat", "--all", "--lost"),
    ("resolve", "--all", "--adopt", "x"),
    ("resolve", "--batch", "flim", "--all", "--lost"),
    ("retry",),
    ("retry", "--cause", "content_polcy"),
    ("retry", "nobody"),
    ("cancel",),
    ("verify", "flim"),
)


def test_half_a_decision_is_none(desk: Desk) -> None:
    """Where it isn't clear what is to be done with which jobs, the answer is 2 and nothing is changed."""
    text = (desk.place / "film.yaml").read_text("utf-8")
    (desk.place / "film.yaml").write_text(text + "  - A tower\n", "utf-8")
    desk.sim.fault(name="accepted-then-dropped", times=2)
    desk("run", "film.yaml")
    for typed in HALF:
        said = desk(*typed)
        assert (said.code, said.out) == (2, ""), typed
        assert said.err.startswith("runner: ")
    assert desk.counts == {"in_doubt": 2}


def test_paying_twice_needs_a_yes(desk: Desk) -> None:
    """--resubmit says what it may cost; without a terminal it needs --yes, and then both are counted."""
    desk.in_doubt()
    said = desk("resolve", "boat", "--resubmit")
    assert (said.code, desk.counts) == (2, {"in_doubt": 1})
    for fact in ("0.35 USD", "perhaps paid twice", "--yes"):
        assert fact in said.err
    assert desk("resolve", "boat", "--resubmit", "--yes").code == 0
    assert desk("resume").code == 0
    assert len(desk.sim.bought) == 2
    assert "spent 0.70 USD" in desk("status").out


@pytest.mark.parametrize(
    ("answer", "counts"), [("y\n", "queued"), ("\n", "failed"), ("", "failed")]
)
def test_a_person_is_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, counts: str
) -> None:
    """On a terminal the price comes with a question, and only a yes is one."""
    desk.write(prompt="A forbiddenword")
    assert desk("run", "film.yaml").code == 3
    monkeypatch.setattr(sys, "stdin", Person(answer))
    said = desk("retry", "boat")
    assert said.code == 0
    assert "1 job, about 0.35 USD. Go on? [y/N]" in said.err
    assert desk.counts == {counts: 1}


def test_a_retry_says_its_price_and_what_is_free(desk: Desk) -> None:
    """What is bought again is priced, what is only fetched again is not; then comes `resume`."""
    text = ONE.format(provider="fal", model=FAL_MODEL, prompt="A forbiddenword")
    (desk.place / "film.yaml").write_text(text + "  - {prompt: A mill, id: mill}\n", "utf-8")
    desk.sim.fault(name="media-404")
    assert desk("run", "film.yaml").code == 4
    desk.sim.reset_faults()
    said = desk("retry", "--batch", "film")
    assert said.code == 2
    assert "1 job, about 0.35 USD; 1 more is fetched again free of charge" in said.err
    free = desk("retry", "--cause", "expired")
    assert free.code == 0
    assert free.out.splitlines()[0] == "1 job is fetched again free of charge"
    assert free.out.splitlines()[-1].endswith(" resume")
    assert desk("retry", "boat", "--yes", "-q").out == ""
    desk("resume")
    assert desk.counts == {"done": 1, "failed": 1}
    assert len(desk.sim.bought) == 3


def test_an_unknown_price_is_said(desk: Desk, call: Call) -> None:
    """A job without a price is no cheaper for it: it is asked about, too."""
    desk.write("winfull", "A forbiddenword")
    assert desk("run", "film.yaml").code == 3
    said = call("retry", "boat")
    assert (said.code, "1 job, price not known" in said.err) == (2, True)


def test_queued_jobs_are_cancelled_and_come_back_when_named(desk: Desk) -> None:
    """--queued gives up what was not sent; a retry of the batch leaves it, a retry by name doesn't."""
    desk("run", "film.yaml", "--limit", "0")
    assert desk("cancel", "--queued").code == 0
    assert desk.counts == {"cancelled": 1}
    assert desk("retry", "--batch", "film").out == "No such jobs.\n"
    assert desk("retry", "boat", "--yes").code == 0
    assert desk.counts == {"queued": 1}


def test_a_done_job_can_not_be_cancelled(desk: Desk) -> None:
    """What changes nothing ends with 3 and says why, under -q too."""
    desk("run", "film.yaml")
    said = desk("cancel", "boat", "-q")
    assert (said.code, said.out) == (3, "film/boat: is done: there is nothing to cancel\n")


def test_verify_finds_and_repairs(desk: Desk) -> None:
    """A damaged clip is told with 3, fetched again without a submit, and then all is whole."""
    desk("run", "film.yaml")
    whole = desk("verify")
    assert (whole.code, whole.out) == (0, "1 file whole\n")
    assert desk("verify", "-q").out == ""
    clip = desk.place / "state" / "outputs" / "film" / "boat.mp4"
    clip.write_bytes(b"\1" + clip.read_bytes()[1:])
    said = desk("verify", "film")
    assert said.code == 3
    assert said.out.splitlines()[:2] == [
        "damaged  film/boat.mp4  film/boat",
        "0 files whole, 1 damaged",
    ]
    kinds = [each["type"] for each in desk("verify", "--repair", "--json").records]
    assert kinds == ["file", "verified", "decision"]
    assert desk("resume").code == 0
    assert desk("verify").code == 0
    assert clip.with_name("boat.mp4.damaged").is_file()
    assert len(desk.sim.bought) == 1


def test_repairing_removes_what_nobody_can_go_on_with(desk: Desk) -> None:
    """Parts of jobs that are over go, with --repair only; what a person put there stays, and no folder is made."""
    assert desk("verify", "--repair").code == 0
    assert not (desk.place / "state" / "runner.db").exists()
    desk("run", "film.yaml")
    folder = desk.place / "state" / "outputs" / "film"
    ours, theirs = folder / "boat.0123456789abcdef-1.part", folder / "notes.part"
    for path in (ours, theirs):
        path.write_bytes(b"x")
    assert desk("verify").out == "1 file whole\n"
    assert ours.exists()
    assert desk("verify", "--repair").out == "1 file whole\n1 partial file removed\n"
    assert (ours.exists(), theirs.exists()) == (False, True)


@pytest.mark.parametrize(
    "typed",
    [
        ("resolve", "boat", "--lost"),
        ("resolve", "boat", "--resubmit", "--yes"),
        ("cancel", "boat"),
        ("retry", "boat"),
    ],
)
def test_a_held_state_folder_ends_with_7(desk: Desk, typed: tuple[str, ...]) -> None:
    """While a runner works, a decision is refused and names it; looking is not."""
    desk.in_doubt()
    lock = RunnerLock(desk.place / "state" / "runner.lock", Clock().now())
    said = desk(*typed)
    assert (said.code, "another runner holds" in said.err) == (7, True)
    assert desk("resolve").code == desk("verify").code == desk("verify", "--repair").code == 0
    lock.release()
    assert desk.counts == {"in_doubt": 1}


def test_a_strangers_text_steers_no_terminal(desk: Desk) -> None:
    """What a prompt or a server says is shown without characters that a terminal obeys."""
    desk.write(prompt="A \\e[31mboat\\u202e")
    desk.sim.fault(name="accepted-then-dropped", times=1)
    desk("run", "film.yaml")
    shown: Any = desk("resolve").out
    assert "A [31mboat" in shown
    assert all(char.isprintable() or char == "\n" for char in shown)
