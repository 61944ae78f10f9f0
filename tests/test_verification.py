"""Comparing files with what was recorded of them, and setting damaged ones aside."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runner.events import Accepted, Artifact, Finished, Intended, Remote, Saved, SavedFile
from runner.job import State, advanced
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.reader import reading
from runner.verification import Checked, Verdict, set_aside, verify
from tests.conftest import T0, make_spec

NAMES = ("film/a.mp4", "film/a-2.mp4")


@pytest.fixture
async def outputs(store: SqliteStore, folder: StateFolder) -> Path:
    """The outputs folder of one done job with two files."""
    batch, _ = await store.add(
        Batch("film", "film.yaml", "d", "fal"), [[make_spec(0), make_spec(1)]], T0
    )
    (claim, _) = await store.claim_queued(batch.number, T0, 2)
    files = []
    for name in NAMES:
        path = folder.outputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        digest = hashlib.sha256(name.encode()).hexdigest()
        files.append(SavedFile(name, digest, len(name), "video/mp4"))
    intent = Intended(1, "ref", "digest", "fal", T0 + 30)
    await store.intend(claim.job, intent, 1, T0)
    job = advanced(claim.job, State.SUBMITTING, intent, T0, T0)
    made = Finished(tuple(Artifact(f"https://media.example/{name}") for name in NAMES))
    for event in (Accepted(Remote("r1")), made, Saved(tuple(files))):
        state = await store.record(job, event, T0, T0)
        assert state is not None
        job = advanced(job, state, event, T0, T0)
    return folder.outputs


def looked(folder: StateFolder, batches: Sequence[int] = (1,)) -> list[Checked]:
    """Every file, compared."""
    with reading(folder) as reader:
        assert reader is not None
        return list(verify(reader, folder.outputs, batches))


def flip(path: Path) -> None:
    """Turn one bit."""
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def grow(path: Path) -> None:
    """Add a byte."""
    path.write_bytes(path.read_bytes() + b"\0")


def become_a_folder(path: Path) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("happens", "verdict"),
    [
        (flip, Verdict.DAMAGED),
        (grow, Verdict.DAMAGED),
        (become_a_folder, Verdict.DAMAGED),
        (Path.unlink, Verdict.MISSING),
        (Path.read_bytes, Verdict.WHOLE),
    ],
)
def test_each_file_is_compared_byte_for_byte(
    outputs: Path, folder: StateFolder, happens: Callable[[Path], object], verdict: Verdict
) -> None:
    """What is no longer as it was hashed is told, file by file; its neighbours are whole."""
    happens(outputs / NAMES[1])
    assert [(each.path, each.verdict) for each in looked(folder)] == [
        (NAMES[0], Verdict.WHOLE),
        (NAMES[1], verdict),
    ]


def test_only_done_jobs_of_these_batches_have_files(outputs: Path, folder: StateFolder) -> None:
    """A queued job has no file to miss, and another batch is another question."""
    assert {each.job.state for each in looked(folder)} == {State.DONE}
    assert looked(folder, ()) == []


def test_what_is_set_aside_is_kept(tmp_path: Path) -> None:
    """A damaged file gets another name each time, and none of them is written over."""
    path = tmp_path / "a.mp4"
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        assert set_aside(path) is not None
    assert not path.exists()
    assert [
        (tmp_path / name).read_bytes()
        for name in ("a.mp4.damaged", "a.mp4.damaged-2", "a.mp4.damaged-3")
    ] == [b"one", b"two", b"three"]
    assert set_aside(path) is None


def keep(path: Path) -> None:
    """Nothing happens."""


def move_away(path: Path) -> None:
    """Give it another name."""
    path.rename(path.with_name(f"moved-{path.name}"))


HAPPENINGS: tuple[tuple[Callable[[Path], object], Verdict], ...] = (
    (keep, Verdict.WHOLE),
    (flip, Verdict.DAMAGED),
    (grow, Verdict.DAMAGED),
    (become_a_folder, Verdict.DAMAGED),
    (Path.unlink, Verdict.MISSING),
    (move_away, Verdict.MISSING),
)


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_to_whichever_files(
    store: SqliteStore, folder: StateFolder, seed: int
) -> None:
    """Any mixture of lost, moved, damaged and whole files is told file by file, and looking changes no row."""
    dice = random.Random(seed)
    batch, _ = await store.add(
        Batch("film", "film.yaml", "d", "fal"), [[make_spec(n) for n in range(30)]], T0
    )
    expected = {}
    for claim in await store.claim_queued(batch.number, T0, 30):
        number = claim.job.number
        path = folder.outputs / "film" / f"{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dice.randbytes(100))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        saved = Saved((SavedFile(f"film/{number}.mp4", digest, 100, "video/mp4"),))
        intent = Intended(1, f"ref{number}", "digest", "fal", T0 + 30)
        await store.intend(claim.job, intent, 1, T0)
        job = advanced(claim.job, State.SUBMITTING, intent, T0, T0)
        made = Finished((Artifact(f"https://media.example/{number}"),))
        for event in (Accepted(Remote(f"r{number}")), made, saved):
            state = await store.record(job, event, T0, T0)
            assert state is not None
            job = advanced(job, state, event, T0, T0)
        happens, verdict = dice.choice(HAPPENINGS)
        happens(path)
        expected[f"film/{number}.mp4"] = verdict
    for _ in range(2):
        assert {each.path: each.verdict for each in looked(folder)} == expected
    assert {each.job.state for each in looked(folder)} == {State.DONE}
