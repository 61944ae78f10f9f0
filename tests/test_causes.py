"""Causes and errors: what a person is told."""

from __future__ import annotations

import re

import pytest

from runner import errors
from runner.causes import Cause
from runner.errors import ManifestError, Problem, RunnerError

COMMANDS = {
    "demo", "init", "plan", "run", "resume", "status", "jobs", "show", "retry", "cancel", "resolve", "export",
    "gallery", "verify", "view", "schedule", "keys", "providers", "doctor", "schema", "simulate",
}  # fmt: skip


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_explained(cause: Cause) -> None:
    """Each cause has one line of explanation and one of what to do, for somebody who has never met it."""
    for text in (cause.explanation, cause.fix):
        assert text.strip()
        assert "\n" not in text
        assert text == text.strip()
    assert cause.explanation != cause.fix


@pytest.mark.parametrize("cause", Cause)
def test_a_fix_names_commands_that_exist(cause: Cause) -> None:
    """What a person is told to type can be typed."""
    typed = re.findall(r"runner ([a-z]+)", cause.fix)
    assert set(typed) <= COMMANDS


def test_a_cause_is_for_one_pair_of_hands() -> None:
    """A cause is never both the account's and the job's: the exit codes would fight."""
    assert [cause for cause in Cause if cause.needs_person and cause.refused] == []
    assert {cause for cause in Cause if cause.refused} == {
        Cause.BAD_KEY,
        Cause.OUT_OF_MONEY,
        Cause.NOT_PERMITTED,
    }


def test_every_error_has_an_exit_code() -> None:
    """Exit codes of errors are those of the command line's table."""
    found = {
        kind.__name__: kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, RunnerError)
    }
    assert found["UsageError"] == found["ManifestError"] == 2
    assert found["KeyMissing"] == 6
    assert found["StoreLocked"] == 7
    assert found["StoreError"] == found["StoreFull"] == 9
    assert set(found.values()) <= {1, 2, 6, 7, 9}


def test_a_manifest_error_shows_every_problem_in_order() -> None:
    """All mistakes at once, in file order, each in the form that an editor turns into a link."""
    error = ManifestError(
        [Problem("a.yaml", 9, 1, "second"), Problem("a.yaml", 2, 3, "first", warning=True)]
    )
    assert str(error) == "a.yaml:2:3: warning: first\na.yaml:9:1: second"
