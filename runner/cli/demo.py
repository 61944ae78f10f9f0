"""`demo`: the main job from end to end on a simulator, with a kill in the middle. No key, no network, no money."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from importlib.resources import files
from itertools import count as counting
from pathlib import Path

from runner.cli.general import General
from runner.cli.session import Session
from runner.cli.stage import Books, Stage, environment
from runner.cli.words import count, duration, plain, prose, shell
from runner.errors import RunnerError
from runner.job import State
from runner.looking import look_at
from runner.report import Report
from runner.settings import Settings
from runner.store.folder import StateFolder
from runner.store.reader import reading

_FILES = {
    "fal.yaml": "demo-fal.yaml",
    "kling.yaml": "demo-kling.yaml",
    "shots.csv": "demo-shots.csv",
}
_MANIFESTS = ("fal.yaml", "kling.yaml")
_JOBS = 26
_KILL_AT = 9
_EXPECTED = 3  # one job fails, on purpose
_LONGEST = 120.0


def demo(general: General) -> int:
    """Show all of it; returns 0 where everything went as it should."""
    session = Session(general)
    began = session.clock.now()
    folder = _fresh(session.state)
    demonstration = Demonstration(session, folder)
    with Stage(folder) as stage:
        demonstration.say(
            f"A simulator starts on this machine. It speaks like fal and like Kling, and sells nothing: {stage.url}"
        )
        demonstration.write()
        demonstration.first_run()
        code = demonstration.second_run()
        books = stage.books()
    return demonstration.close(books, code, session.clock.now() - began)


def _fresh(state: Path) -> Path:
    """A folder of its own, so that nothing of an earlier demo is in the way."""
    for number in counting(1):
        folder = state / ("demo" if number == 1 else f"demo-{number}")
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunnerError(
                f"{folder} can't be made: {error.strerror}. Give another folder: runner --state DIR demo"
            ) from None
        return folder
    raise AssertionError


class Demonstration:
    """The steps, each said before it is done."""

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._out = session.out
        self._folder = folder
        self._step = 0
        self._settings = Settings.resolve({}, folder, folder, None, folder)

    def say(self, text: str) -> None:
        """Announce a step."""
        self._step += 1
        if self._out.json:
            self._out.record({"type": "step", "number": self._step, "text": text})
        elif not self._out.quiet:
            self._out.say()
            lines = prose(text, 3, self._out.width)
            self._out.say(f"{self._step}. {lines[0].strip()}", *lines[1:], style="bold")

    def write(self) -> None:
        """Write the manifests."""
        examples = files("runner") / "examples"
        for name, source in _FILES.items():
            text = (examples / source).read_text("utf-8")
            (self._folder / name).write_text(text, encoding="utf-8", newline="\n")
        self.say(
            f"Two manifests are in {self._folder}: fal.yaml makes 16 jobs, kling.yaml 10. One prompt will be "
            "refused by content policy, and one submit is answered with 429."
        )

    def first_run(self) -> None:
        """Run, and kill it in the middle."""
        self.say(f"One command runs both. It is killed after {_KILL_AT} clips:")
        if not self._out.quiet:
            self._out.say(f"   $ cd {shell(self._folder)}", style="dim")
        self._show_command()
        child = self._start()
        try:
            while child.poll() is None and not self._may_die(child):
                with suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=0.05)
        finally:
            child.kill()
            child.wait()
        self._out.console.show_cursor(True)
        self.say(f"kill -9. {self._standing()}")

    def second_run(self) -> int:
        """Run the same command again; returns its exit code."""
        self.say("The same command again resumes. What was bought is only polled and fetched.")
        self._show_command()
        child = self._start()
        try:
            return child.wait(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            raise RunnerError(f"the second run took longer than {_LONGEST:.0f} s") from None
        finally:
            child.kill()
            child.wait()

    def close(self, books: Books, code: int, seconds: float) -> int:
        """Compare with the simulator's own books; returns the demo's exit code."""
        report = self._report()
        done, failed = report.count(State.DONE), report.count(State.FAILED)
        good = (
            code == _EXPECTED and done == _JOBS - 1 and books.twice == 0 and books.accepted == _JOBS
        )
        outputs = self._folder / "outputs"
        if self._out.json:
            self._out.record(
                {
                    "type": "demo",
                    "ok": good,
                    "jobs": report.total,
                    "done": done,
                    "failed": failed,
                    "accepted": books.accepted,
                    "bought_twice": books.twice,
                    "answers_429": books.refused_for_rate,
                    "outputs": str(outputs),
                    "seconds": round(seconds, 1),
                }
            )
        elif not self._out.quiet or not good:
            self._last_words(report, books, outputs, seconds)
        if not good:
            self._out.note(
                f"The demo did not go as it should: exit {code} instead of {_EXPECTED}, {done} of {_JOBS - 1} done, "
                f"{books.accepted} of {_JOBS} accepted, bought twice: {books.twice}",
                style="red",
            )
        return 0 if good else 1

    def _last_words(self, report: Report, books: Books, outputs: Path, seconds: float) -> None:
        done = report.count(State.DONE)
        self.say("What the simulator's own books say:")
        counts = f"accepted {books.accepted} · answered with 429: {books.refused_for_rate}"
        self._out.say(f"   jobs {report.total} · {counts}")
        self._out.say(
            f"   bought twice: {books.twice}", style="green" if not books.twice else "red"
        )
        self._out.say("   One job failed as it should: exit 3 says so, and the summary says why.")
        self._out.say()
        self._out.say(f"{count(done, 'clip')} in {plain(str(outputs))}, {duration(seconds)} in all")
        self._out.say(
            f"Look around:  cd {shell(self._folder)}",
            "              runner --state . status",
            "              runner --state . show brawl",
            "Your own:     runner init",
        )

    # -- the runner as a process of its own ------------------------------------------------------------------------

    def _arguments(self) -> list[str]:
        return ["--state", ".", "run", *_MANIFESTS]

    def _show_command(self) -> None:
        if not self._out.quiet:
            command = f"$ runner {' '.join(map(shell, self._arguments()))}"
            self._out.say(f"   {command}", style="dim")

    def _start(self) -> subprocess.Popen[bytes]:
        self._out.flush()
        flags = ["--json"] if self._out.json else ["--quiet"] if self._out.quiet else []
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "runner", *flags, *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if self._out.quiet else None,
            env=environment(),
            cwd=self._folder,
        )

    def _may_die(self, child: subprocess.Popen[bytes]) -> bool:
        """Whether enough is done and no submit is in the air, so that the rest of the story is certain.

        A submit whose answer is lost would be in doubt, as it should be, and at fal only a person could settle it. The
        process is halted while this is looked up, as far as the system can do that.
        """
        if self._count(State.DONE) < _KILL_AT:
            return False
        if hasattr(signal, "SIGSTOP"):
            child.send_signal(signal.SIGSTOP)
        if not self._count(State.SUBMITTING):
            return True
        if hasattr(signal, "SIGCONT"):
            child.send_signal(signal.SIGCONT)
        return False

    def _count(self, state: State) -> int:
        with reading(StateFolder(self._folder)) as reader:
            if reader is None:
                return 0
            counts = reader.counts([batch.number for batch in reader.batches()])
        return sum(number for (_, _, each), number in counts.items() if each is state)

    def _report(self) -> Report:
        return look_at(self._settings)

    def _standing(self) -> str:
        report = self._report()
        flying = report.count(State.RUNNING, State.READY)
        return (
            f"The rows in {self._folder / 'runner.db'} say: {report.count(State.DONE)} done, {flying} bought and not "
            f"yet fetched, {report.count(State.QUEUED)} not yet sent."
        )
