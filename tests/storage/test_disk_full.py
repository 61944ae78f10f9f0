"""The disk is full: in a commit, in a download, at the start."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

import runner.app
from runner.app import App
from runner.engine import Options
from runner.errors import StoreFull
from runner.http import Http
from runner.providers import Provider
from runner.settings import Settings
from runner.simulator import Simulator
from runner.store import SqliteStore
from runner.store.flusher import Flusher
from runner.wire import Request, Response
from tests.storage.shop import NO_NAMESPACE, QUICK, SLOW, Ended, Shop, namespace

in_namespace = pytest.mark.skipif(not namespace(), reason=NO_NAMESPACE)


async def on_small_disk(shop: Shop, size: str, ballast: str) -> list[int]:
    """Run on a disk of `size` with `ballast` on it, take it away, resume; the exit codes.

    What the disk held is in the folders `first` and `second` afterwards, what was said in `first.err` and `second.err`.
    """
    run = shlex.join(shop.command("run", str(shop.folder / "film.yaml")))
    resume = shlex.join(shop.command("-q", "resume"))
    script = f"""
set -eu
mkdir -p state
mount -t tmpfs -o size={size} none state
fallocate -l {ballast} state/ballast
set +e
{run} > first.err 2>&1; echo $? > codes
cp -a state first; rm -f first/ballast
rm state/ballast
{resume} > second.err 2>&1; echo $? >> codes
cp -a state second
"""
    ended: Ended = await shop.call(
        [*namespace(), "sh", "-c", f"cd {shlex.quote(str(shop.folder))}\n{script}"],
        {"PYTHONPATH": str(Path(runner.__file__).parents[1])},
    )
    assert ended.code == 0, ended
    return [int(word) for word in (shop.folder / "codes").read_text().split()]


@in_namespace
async def test_full_in_a_commit(tmp_path: Path) -> None:
    """A disk that fills up amid submits: exit 9 and what to do; nothing bought without a durable intent; it goes on."""
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 300)
        codes = await on_small_disk(shop, "1800k", "1m")
        first, err = tmp_path / "first", (tmp_path / "first.err").read_text()
        assert codes[0] == 9, err
        assert "Free some space, then: runner resume" in err
        assert len(sim.ledger) > 0
        assert shop.unintended(tmp_path / "second") == set()
        assert max(shop.bought().values()) == 1
        assert codes[1] != 0  # the submits that were in the air are in doubt, or it filled up again
        assert shop.states(first)["queued"] > 0


@in_namespace
async def test_full_in_a_download(tmp_path: Path) -> None:
    """No room for a clip: exit 9, the job stays ready; with room again it is fetched, and not bought again."""
    async with Simulator(QUICK) as sim:
        shop = Shop.opened(sim, tmp_path, 2)
        codes = await on_small_disk(shop, "210m", "25m")
        err = (tmp_path / "first.err").read_text()
        assert codes == [9, 0], (err, (tmp_path / "second.err").read_text())
        assert "disk_full" in err
        assert "free some space or see to the disk, then" in " ".join(err.split())
        assert set(shop.bought().values()) == {1}
        assert "done" not in shop.states(tmp_path / "first")
        assert shop.states(tmp_path / "second") == {"done": 2}
        # Each was opened once, and left for want of room.
        assert sum(task.downloads for task in sim.ledger) <= 4


@in_namespace
async def test_full_at_the_start(tmp_path: Path) -> None:
    """A disk without room for a database: exit 9 before anything is sent."""
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 3)
        codes = await on_small_disk(shop, "1m", "1040000")
        assert codes[0] == 9, (tmp_path / "first.err").read_text()
        assert len(sim.log) == 0 or shop.states(tmp_path / "first") == {}


@pytest.mark.skipif(os.name == "nt", reason="needs ulimit")
async def test_too_large_a_file(tmp_path: Path) -> None:
    """A limit on file sizes, or a quota, shows another error of SQLite's: it ends the run in the same way."""
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 200)
        limited = f"ulimit -f 400; exec {shlex.join(shop.run_command())}"
        ended = await shop.call(["bash", "-c", limited])
        assert ended.code == 9, ended
        assert "runner resume" in ended.err
        assert len(sim.ledger) > 0
        assert shop.unintended() == set()
        before = sum(shop.bought().values())
        again = await shop.call([*shop.run_command(), "--limit", "5", "--max-duration", "3s"])
        assert again.code in (4, 8), again
        assert sum(shop.bought().values()) == before + 5
        assert max(shop.bought().values()) == 1


class Diary:
    """In which order submits left and commits failed."""

    def __init__(self) -> None:
        self.lines: list[str] = []


class SmallStore(SqliteStore):
    """A store whose database may grow by a few pages only."""

    def __init__(self, diary: Diary, pages: int, *place: Any) -> None:
        super().__init__(*place)
        self._diary, self._pages = diary, pages

    async def begin_run(self, *args: Any) -> int:
        """From here on it is tight."""
        flusher: Flusher = self._flusher
        run = await super().begin_run(*args)
        await flusher.alone(self._tighten)
        commit = flusher._commit

        async def noted(group: Any) -> None:
            await commit(group)
            if flusher.broken is not None:
                self._diary.lines.append("full")

        flusher._commit = noted  # type: ignore[method-assign]
        return run

    def _tighten(self, connection: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + self._pages}")


class NotedHttp(Http):
    """A network that notes each paid request as it is about to leave."""

    def __init__(self, diary: Diary, *parts: Any) -> None:
        super().__init__(*parts)
        self._diary = diary

    async def send(self, provider: Provider, request: Request) -> Response:
        """See `Http.send`."""
        if request.paid:
            self._diary.lines.append("sent")
        return await super().send(provider, request)


@pytest.mark.parametrize("pages", [1, 2, 3, 5, 8, 13])
async def test_nothing_is_sent_after_the_first_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """From the first commit that fails on, no paid request leaves; the next run goes on and buys nothing twice."""
    diary = Diary()
    async with Simulator(SLOW) as sim:
        shop = Shop.opened(sim, tmp_path, 150)
        settings = Settings.resolve(
            {}, tmp_path, shop.state, tmp_path / "sim" / "providers.yaml", tmp_path
        )
        with monkeypatch.context() as patch:
            patch.setattr(
                runner.app, "SqliteStore", lambda *place: SmallStore(diary, pages, *place)
            )
            patch.setattr(runner.app, "Http", lambda *parts: NotedHttp(diary, *parts))
            with pytest.raises(StoreFull, match="Free some space, then: runner resume"):
                await App(settings).run([tmp_path / "film.yaml"], Options())
        assert "full" in diary.lines
        assert "sent" not in diary.lines[diary.lines.index("full") :]
        assert shop.unintended() == set()
        sent = diary.lines.count("sent")
        assert len(sim.ledger) <= sent
        outcome = await App(settings).run([tmp_path / "film.yaml"], Options(limit=3, until=0.0))
        assert outcome.exit_code in (4, 8)
        assert max(shop.bought().values(), default=1) == 1
