"""What a person decides about jobs, on a real store and against the simulator's own books."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from runner.actions import Actions
from runner.app import App, Outcome
from runner.budget import Money
from runner.causes import Cause
from runner.clock import Clock
from runner.engine import Engine, Options
from runner.errors import StoreLocked, UsageError
from runner.events import Accepted, Delayed, Event
from runner.job import Job, State
from runner.looking import look_at
from runner.settings import Settings
from runner.simulator import Fault, Simulator
from runner.simulator.settings import Latency
from runner.store import Batch, SqliteStore, StateFolder
from runner.store.lock import RunnerLock
from runner.store.reader import reading
from runner.verification import Checked, Verdict, verify
from tests.engine.night import CLOCK, FAL_MODEL, QUICK

KLING_MODEL = "v1/videos/text2video"
LOST = Fault("accepted-then-dropped", times=1)
NEVER_CAME = Fault("drop-before-accept", times=1)
PRICE = Money.parse("0.35 USD")


class Ahead(Clock):
    """The simulator's clock: that of the runs, and as far ahead of it as a test says."""

    ahead = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return CLOCK.now() + self.ahead


class Desk:
    """A state folder with one batch, and a simulator that sells to it."""

    def __init__(self, root: Path, sim: Simulator, clock: Ahead) -> None:
        self.sim = sim
        self.clock = clock
        sim.write_files(root / "sim")
        self.root = root
        self.settings = Settings.resolve(
            {}, root, root / "state", root / "sim" / "providers.yaml", root / "config"
        )
        self.app = App(self.settings, CLOCK)
        self.actions = Actions(self.settings, CLOCK)
        self.write("fal", "one")

    def write(self, provider: str, *prompts: str) -> None:
        """Write the manifest."""
        model = KLING_MODEL if provider == "kling" else FAL_MODEL
        params = {"kling": "{model_name: kling-v2-5-turbo, duration: 5}"}.get(
            provider, "{duration: 5}"
        )
        items = "".join(f"  - {{prompt: {prompt}, id: {prompt}}}\n" for prompt in prompts)
        text = f"version: 1\nname: film\nprovider: {provider}\nmodel: {model}\nparams: {params}\nprompts:\n{items}"
        (self.root / "film.yaml").write_text(text, "utf-8")

    async def run(self, **options: int) -> Outcome:
        """Run the manifest until nothing is left."""
        return await self.app.run([self.root / "film.yaml"], Options(settle=1.0, **options))

    async def run_until(self, kind: type[Event]) -> None:
        """Run the manifest, and stop once something of this sort happened."""
        engines: list[Engine] = []

        def started(engine: Engine, _batches: Sequence[Batch]) -> None:
            engines.append(engine)

        def see(_job: Job, event: Event) -> None:
            if isinstance(event, kind):
                engines[0].stop()

        await self.app.run(
            [self.root / "film.yaml"], Options(settle=1.0), observer=see, started=started
        )

    def jobs(self) -> list[Job]:
        """Every job, as it is stored."""
        with reading(self.app.folder) as reader:
            assert reader is not None
            return list(reader.jobs([1]))

    @property
    def job(self) -> Job:
        """The first job."""
        return self.jobs()[0]

    @property
    def states(self) -> list[State]:
        """Where the jobs are."""
        return [job.state for job in self.jobs()]

    @property
    def spent(self) -> Money:
        """What the batch has cost, as a person is told."""
        (batch,) = look_at(self.settings).batches
        return batch.spent[0] if batch.spent else Money(0, "USD")

    def checked(self) -> list[Checked]:
        """Every file, compared with what was recorded."""
        with reading(self.app.folder) as reader:
            assert reader is not None
            return list(verify(reader, self.app.folder.outputs, [1]))

    def asked(self, operation: str) -> int:
        """How many requests of one sort came to the simulator."""
        return sum(entry.operation == operation for entry in self.sim.log)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk with one job for fal, whose policy refuses the word "brawl"."""
    clock = Ahead()
    async with Simulator(replace(QUICK, policy_word="brawl"), clock=clock.now) as sim:
        yield Desk(tmp_path, sim, clock)


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose clips take ten minutes."""
    clock = Ahead()
    settings = replace(QUICK, run=Latency("fixed", 600.0))
    async with Simulator(settings, clock=clock.now) as sim:
        yield Desk(tmp_path, sim, clock)


# -- doubt -------------------------------------------------------------------------------------------------------------


async def in_doubt(desk: Desk, fault: Fault = LOST) -> Job:
    """Run until the first job is in doubt and held."""
    desk.sim.add_fault(fault)
    outcome = await desk.run()
    assert outcome.exit_code == 4
    assert (desk.job.state, desk.job.due_at) == (State.IN_DOUBT, None)
    return desk.job


async def test_an_adopted_job_is_fetched_and_not_bought(desk: Desk) -> None:
    """With the provider's id the clip of a lost answer comes home, paid once."""
    job = await in_doubt(desk)
    done = await desk.actions.adopt(job, desk.sim.ledger[0].id)
    assert (done.state, done.changed) == (State.RUNNING, True)
    assert (await desk.run()).exit_code == 0
    assert (desk.states, len(desk.sim.ledger), desk.spent) == ([State.DONE], 1, PRICE)


@pytest.mark.parametrize("remote_id", ["", "a\nb", ".", "x" * 600])
async def test_nonsense_is_not_adopted(desk: Desk, remote_id: str) -> None:
    """What can't be an id is refused before anything is asked or changed."""
    job = await in_doubt(desk)
    before = len(desk.sim.log)
    with pytest.raises(UsageError):
        await desk.actions.adopt(job, remote_id)
    assert (desk.job, len(desk.sim.log)) == (job, before)


async def test_an_id_that_is_not_its_own_is_not_adopted(desk: Desk) -> None:
    """An id of another job, and one that the provider does not know, change nothing."""
    desk.write("fal", "one", "two")
    job = await in_doubt(desk)
    (other,) = [each for each in desk.jobs() if each.state is State.DONE]
    assert other.remote is not None
    for remote_id, why in ((other.remote.id, "another job"), ("../../admin", "knows no job")):
        done = await desk.actions.adopt(job, remote_id)
        assert (done.changed, done.state) == (False, State.IN_DOUBT)
        assert why in done.note
    assert job in desk.jobs()


async def test_the_id_of_an_earlier_attempt_is_not_adopted(desk: Desk) -> None:
    """What the first attempt bought is known already, so it says nothing about the second."""
    desk.write("fal", "brawl")
    await desk.run()
    first = desk.job
    assert first.remote is not None
    await desk.actions.retry(desk.actions.plan_retry([first]))
    job = await in_doubt(desk)
    done = await desk.actions.adopt(job, first.remote.id)
    assert (done.changed, "attempt 1" in done.note) == (False, True)


async def test_an_id_is_adopted_unchecked_where_nobody_answers(desk: Desk) -> None:
    """A provider that is away doesn't stop a person who knows the id; the note says that it was not checked."""
    job = await in_doubt(desk)
    desk.sim.add_fault(Fault("server-error-on-poll"))
    done = await desk.actions.adopt(job, desk.sim.ledger[0].id)
    assert (done.state, "could not be checked" in done.note) == (State.RUNNING, True)


async def test_what_was_not_taken_is_bought_once_more_and_only_once(desk: Desk) -> None:
    """`lost` releases the money of the first attempt and queues the job again."""
    job = await in_doubt(desk, NEVER_CAME)
    (done,) = await desk.actions.lost([job])
    assert (done.state, desk.spent) == (State.QUEUED, Money(0, "USD"))
    assert (await desk.run()).exit_code == 0
    await desk.run()
    assert (desk.states, len(desk.sim.ledger), desk.spent) == ([State.DONE], 1, PRICE)


async def test_what_was_paid_and_is_gone_has_failed(desk: Desk) -> None:
    """`paid` ends the job, counts it as spent, and no run buys it again; a person is not asked once more."""
    job = await in_doubt(desk)
    (done,) = await desk.actions.paid([job])
    assert (done.state, done.job.cause) == (State.FAILED, Cause.ATTEMPTS_SPENT)
    assert (await desk.run()).exit_code == 3
    assert (len(desk.sim.ledger), desk.spent) == (1, PRICE)


async def test_resubmitting_counts_both(desk: Desk) -> None:
    """Sent again in doubt, both attempts stand in the books."""
    job = await in_doubt(desk)
    (done,) = await desk.actions.resubmit([job])
    assert done.state is State.QUEUED
    assert (await desk.run()).exit_code == 0
    assert (len(desk.sim.ledger), desk.spent) == (2, PRICE + PRICE)


async def test_only_doubts_are_settled(desk: Desk) -> None:
    """One job that is not in doubt stops the decision for all: nothing is changed."""
    desk.write("fal", "one", "two")
    await in_doubt(desk)
    before = desk.jobs()
    for decide in (desk.actions.lost, desk.actions.paid, desk.actions.resubmit):
        with pytest.raises(UsageError, match="not in doubt"):
            await decide(before)
    assert desk.jobs() == before


async def test_a_job_that_moved_meanwhile_is_left_alone(desk: Desk) -> None:
    """A decision about what was seen before somebody else acted changes nothing."""
    job = await in_doubt(desk)
    await desk.actions.paid([job])
    (done,) = await desk.actions.lost([job])
    assert (done.changed, desk.states) == (False, [State.FAILED])


async def lost_by_the_provider(desk: Desk) -> Job:
    """A job that was accepted, and that the provider says it does not know."""
    await desk.run_until(Accepted)
    async with SqliteStore(StateFolder(desk.settings.state), CLOCK.now()) as store:
        event = Delayed(Cause.LOST_REMOTE, "HTTP 404")
        assert await store.record(desk.job, event, CLOCK.now(), None) is State.RUNNING
    assert (await desk.run()).exit_code == 4
    return desk.job


async def test_a_lost_remote_that_was_not_billed_is_sent_again(slow: Desk) -> None:
    """A held job goes back to the queue, and the money of its attempt is free."""
    job = await lost_by_the_provider(slow)
    (done,) = await slow.actions.lost([job])
    assert (done.state, slow.states, slow.spent) == (State.QUEUED, [State.QUEUED], Money(0, "USD"))


async def test_a_lost_remote_that_is_found_again_is_polled_on(slow: Desk) -> None:
    """With the id that it had a held job is asked for again, and nothing is bought."""
    job = await lost_by_the_provider(slow)
    assert job.remote is not None
    done = await slow.actions.adopt(job, job.remote.id)
    assert (done.state, slow.job.due_at is None) == (State.RUNNING, False)
    slow.clock.ahead = 1_000.0
    assert (await slow.run()).exit_code == 0
    assert (slow.states, len(slow.sim.ledger), slow.spent) == ([State.DONE], 1, PRICE)


async def test_a_lost_remote_that_was_billed_has_failed(slow: Desk) -> None:
    """Without a clip and with a bill it is a failure, no longer a question."""
    job = await lost_by_the_provider(slow)
    (done,) = await slow.actions.paid([job])
    assert (done.state, slow.spent) == (State.FAILED, PRICE)
    assert (await slow.run()).exit_code == 3


# -- giving up ---------------------------------------------------------------------------------------------------------


async def test_what_is_queued_is_cancelled_for_free(slow: Desk) -> None:
    """A job that was never sent costs nothing, and no provider hears of it."""
    await slow.run(limit=0)
    (done,) = await slow.actions.cancel(slow.jobs())
    assert (done.state, done.job.due_at) == (State.CANCELLED, None)
    assert (await slow.run()).exit_code == 0
    assert (len(slow.sim.log), slow.spent) == (0, Money(0, "USD"))


async def test_a_running_job_is_cancelled_at_the_provider(slow: Desk) -> None:
    """The provider is told to stop; what it says ends the watch, and nothing is bought."""
    await slow.run_until(Accepted)
    (done,) = await slow.actions.cancel(slow.jobs())
    assert (done.state, slow.asked("cancel")) == (State.CANCELLED, 1)
    assert slow.sim.ledger[0].cancelled_at is not None
    assert slow.job.due_at is not None
    await slow.app.resume(Options())
    assert (slow.states, len(slow.sim.ledger)) == ([State.CANCELLED], 1)
    assert slow.job.due_at is None


async def test_a_cancellation_that_comes_to_nothing_loses_no_clip(slow: Desk) -> None:
    """A cancellation is taken note of, and the clip is made all the same: it is paid for and fetched."""
    slow.sim.add_fault(Fault("cancel-ignored"))
    await slow.run_until(Accepted)
    (done,) = await slow.actions.cancel(slow.jobs())
    assert (done.state, slow.asked("cancel")) == (State.CANCELLED, 1)
    slow.clock.ahead = 1_000.0
    await slow.app.resume(Options())
    assert (slow.states, len(slow.sim.ledger)) == ([State.DONE], 1)


async def test_a_completed_job_is_not_cancelled(slow: Desk) -> None:
    """Too late: it stays where it is, so that its clip is fetched."""
    await slow.run_until(Accepted)
    slow.clock.ahead = 1_000.0
    (done,) = await slow.actions.cancel(slow.jobs())
    assert (done.changed, slow.states, "completed" in done.note) == (False, [State.RUNNING], True)


async def test_a_job_that_the_provider_does_not_know_can_be_given_up(slow: Desk) -> None:
    """NOT_FOUND stops nothing there, so it is cancelled here and watched."""
    await slow.run_until(Accepted)
    slow.sim.add_fault(Fault("task-forgotten"))
    (done,) = await slow.actions.cancel(slow.jobs())
    assert (done.state, slow.job.due_at is None) == (State.CANCELLED, False)
    assert "did not stop it" in done.note


async def test_a_provider_without_an_answer_cancels_nothing(slow: Desk) -> None:
    """Where the provider can't be asked, the job stays as it is."""
    await slow.run_until(Accepted)
    slow.sim.add_fault(Fault("nginx-error"))
    (done,) = await slow.actions.cancel(slow.jobs())
    assert (done.changed, slow.states) == (False, [State.RUNNING])


@pytest.mark.parametrize("again", [Desk.run, lambda desk: desk.app.resume(Options())])
async def test_kling_can_not_cancel_and_the_late_clip_is_kept(
    slow: Desk, again: Callable[[Desk], object]
) -> None:
    """It is said that it goes on and is billed; when it completes all the same, the next run fetches it."""
    slow.write("kling", "one")
    await slow.run_until(Accepted)
    (done,) = await slow.actions.cancel(slow.jobs())
    assert (done.state, slow.asked("cancel")) == (State.CANCELLED, 0)
    assert "can't cancel" in done.note
    assert "billed" in done.note
    slow.clock.ahead = 1_000.0
    await again(slow)  # type: ignore[misc]
    assert (slow.states, len(slow.sim.ledger)) == ([State.DONE], 1)


async def test_what_ended_or_is_in_doubt_is_not_cancelled(desk: Desk) -> None:
    """A doubt is settled, not cancelled; what is done stays done."""
    desk.write("fal", "one", "two")
    await in_doubt(desk)
    before = desk.jobs()
    done = await desk.actions.cancel(before)
    assert not any(each.changed for each in done)
    assert any("runner resolve" in each.note for each in done)
    assert desk.jobs() == before


# -- again -------------------------------------------------------------------------------------------------------------


async def test_a_refused_prompt_is_bought_again_with_its_price(desk: Desk) -> None:
    """A content failure can be retried: the price is known before, and a second job is bought."""
    desk.write("fal", "brawl")
    assert (await desk.run()).exit_code == 3
    plan = desk.actions.plan_retry(desk.jobs())
    assert (len(plan.bought), plan.fetched, plan.left) == (1, (), ())
    assert desk.actions.price_of(plan.bought) == ((PRICE,), 0)
    (done,) = await desk.actions.retry(plan)
    assert done.state is State.QUEUED
    await desk.run()
    assert len(desk.sim.ledger) == 2


@pytest.mark.parametrize(
    ("fault", "cause"), [("media-404", Cause.EXPIRED), ("media-disguised", Cause.CORRUPT_MEDIA)]
)
async def test_what_is_paid_for_is_fetched_again_without_a_submit(
    desk: Desk, fault: str, cause: Cause
) -> None:
    """A clip that could not be fetched is asked for again, free of charge."""
    desk.sim.add_fault(Fault(fault))
    await desk.run()
    assert desk.job.cause is cause
    desk.sim.clear_faults()
    plan = desk.actions.plan_retry(desk.jobs())
    assert (plan.bought, len(plan.fetched)) == ((), 1)
    await desk.actions.retry(plan)
    assert (await desk.run()).exit_code == 0
    assert (desk.states, len(desk.sim.ledger), desk.spent) == ([State.DONE], 1, PRICE)


async def test_with_buy_it_is_bought_anew(desk: Desk) -> None:
    """Whoever says so pays a second time for what the provider has lost."""
    desk.sim.add_fault(Fault("media-404"))
    await desk.run()
    desk.sim.clear_faults()
    plan = desk.actions.plan_retry(desk.jobs(), buy=True)
    assert (len(plan.bought), plan.fetched) == (1, ())
    await desk.actions.retry(plan)
    await desk.run()
    assert (desk.states, len(desk.sim.ledger)) == ([State.DONE], 2)


async def test_a_cancelled_job_that_may_complete_is_not_bought_again(slow: Desk) -> None:
    """While the provider may still make it, a retry needs --buy."""
    slow.write("kling", "one")
    await slow.run_until(Accepted)
    await slow.actions.cancel(slow.jobs())
    plan = slow.actions.plan_retry(slow.jobs())
    assert (plan.bought, plan.fetched, len(plan.left)) == ((), (), 1)
    assert "--buy" in plan.left[0].note
    assert len(slow.actions.plan_retry(slow.jobs(), buy=True).bought) == 1


async def test_what_left_the_manifest_is_not_queued_again(desk: Desk) -> None:
    """No run would send it, so a retry says what to do instead."""
    desk.write("fal", "brawl")
    await desk.run()
    desk.write("fal", "two")
    await desk.run()
    plan = desk.actions.plan_retry(desk.jobs())
    assert plan.bought == ()
    assert any("left the manifest" in each.note for each in plan.left)


async def test_what_has_not_failed_is_not_retried(desk: Desk) -> None:
    """A done job is left alone, with or without --buy."""
    await desk.run()
    for buy in (False, True):
        (left,) = desk.actions.plan_retry(desk.jobs(), buy=buy).left
        assert (left.changed, "is done" in left.note) == (False, True)


# -- files -------------------------------------------------------------------------------------------------------------


async def test_gone_and_damaged_files_come_back_without_a_submit(desk: Desk) -> None:
    """A flipped byte and a missing file are found, fetched again, and the damaged one is kept aside."""
    desk.write("fal", "one", "two", "three")
    await desk.run()
    assert {each.verdict for each in desk.checked()} == {Verdict.WHOLE}
    outputs = desk.app.folder.outputs
    flipped, missing, _ = (outputs / each.path for each in desk.checked())
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    missing.unlink()
    broken = [each for each in desk.checked() if each.verdict is not Verdict.WHOLE]
    assert [each.verdict for each in broken] == [Verdict.DAMAGED, Verdict.MISSING]
    done = await desk.actions.fetch_again(broken)
    assert [each.state for each in done] == [State.RUNNING] * 2
    assert (await desk.run()).exit_code == 0
    assert {each.verdict for each in desk.checked()} == {Verdict.WHOLE}
    assert flipped.with_name(f"{flipped.name}.damaged").read_bytes() == data
    assert (flipped.is_file(), missing.is_file()) == (True, True)
    assert (len(desk.sim.ledger), desk.asked("submit")) == (3, 3)


async def test_a_clip_that_the_provider_no_longer_has_ends_as_expired(desk: Desk) -> None:
    """What can't be fetched again is said to be expired, not done."""
    await desk.run()
    (whole,) = desk.checked()
    (desk.app.folder.outputs / whole.path).unlink()
    await desk.actions.fetch_again(desk.checked())
    desk.sim.add_fault(Fault("media-404"))
    assert (await desk.run()).exit_code == 4
    assert (desk.states, desk.job.cause) == ([State.FAILED], Cause.EXPIRED)


async def test_a_clip_that_the_provider_has_forgotten_ends_as_expired(desk: Desk) -> None:
    """A done job whose file is fetched again, of a provider that knows the job no more, was paid for and is expired."""
    await desk.run()
    (whole,) = desk.checked()
    (desk.app.folder.outputs / whole.path).unlink()
    await desk.actions.fetch_again(desk.checked())
    desk.sim.add_fault(Fault("task-forgotten"))
    assert (await desk.run()).exit_code == 4
    assert (desk.states, desk.job.cause) == ([State.FAILED], Cause.EXPIRED)


async def test_a_held_state_folder_is_not_touched(desk: Desk) -> None:
    """While a runner works, every decision is refused with its name, and nothing is changed."""
    job = await in_doubt(desk)
    lock = RunnerLock(desk.app.folder.lock, CLOCK.now())

    async def refused(*decisions: Callable[[], object]) -> None:
        for decide in decisions:
            with pytest.raises(StoreLocked) as caught:
                await decide()  # type: ignore[misc]
            assert caught.value.exit_code == 7

    actions = desk.actions
    await refused(
        lambda: actions.adopt(job, desk.sim.ledger[0].id), lambda: actions.lost([job]),
        lambda: actions.paid([job]), lambda: actions.resubmit([job]), lambda: actions.cancel([job]),
        lambda: actions.retry(actions.plan_retry([job])), lambda: actions.fetch_again([]),
    )  # fmt: skip
    lock.release()
    assert desk.job == job
