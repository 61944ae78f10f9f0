"""Who is looked at when: against a plain dictionary."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.wakeups import Wakeups

ADD = st.tuples(st.just("add"), st.integers(0, 5), st.integers(0, 20))
OTHER = st.tuples(
    st.sampled_from(["remove", "pop", "shift"]), st.integers(0, 5), st.integers(0, 20)
)


def test_the_earliest_comes_first() -> None:
    """Jobs come in the order of their due times, and none before it is due."""
    wakeups = Wakeups()
    for number, at in ((1, 30.0), (2, 10.0), (3, 20.0)):
        wakeups.add(number, at)
    assert wakeups.next() == 10.0
    assert wakeups.pop(9.9) is None
    assert [wakeups.pop(25.0) for _ in range(3)] == [2, 3, None]
    assert len(wakeups) == 1


def test_of_two_at_once_the_lower_rank_goes_first() -> None:
    """What is paid for is looked at before what is not."""
    wakeups = Wakeups()
    wakeups.add(1, 10.0, rank=2.0)
    wakeups.add(2, 10.0, rank=1.0)
    assert [wakeups.pop(10.0), wakeups.pop(10.0)] == [2, 1]


def test_a_job_is_woken_once() -> None:
    """Only the latest due time counts, whether it is earlier or later than the one before."""
    wakeups = Wakeups()
    for at in (10.0, 5.0, 30.0, 30.0):
        wakeups.add(1, at)
    assert wakeups.pop(29.0) is None
    assert wakeups.pop(30.0) == 1
    assert wakeups.pop(1e9) is None
    assert wakeups.next() is None


def test_a_clock_that_is_set_back_leaves_nobody_waiting() -> None:
    """After a shift nobody is due later than asked for, and who was due earlier stays."""
    wakeups = Wakeups()
    wakeups.add(1, 10.0)
    wakeups.add(2, 5000.0)
    wakeups.shift(60.0)
    assert [wakeups.pop(60.0), wakeups.pop(60.0)] == [1, 2]


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(ADD | OTHER, max_size=60))
def test_it_is_a_dictionary_of_due_times(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is added, moved and removed: what is popped is due, has the earliest time, and comes once."""
    wakeups, model = Wakeups(), dict[int, float]()
    for what, number, at in steps:
        if what == "add":
            wakeups.add(number, float(at))
            model[number] = float(at)
        elif what == "remove":
            wakeups.remove(number)
            model.pop(number, None)
        elif what == "shift":
            wakeups.shift(float(at))
            model = {each: min(due, float(at)) for each, due in model.items()}
        else:
            got = wakeups.pop(float(at))
            earliest = min(model.values(), default=None)
            if earliest is None or earliest > at:
                assert got is None
            else:
                assert got is not None
                assert model.pop(got) == earliest
        assert len(wakeups) == len(model)
        assert wakeups.next() == min(model.values(), default=None)
