"""What a person reads when a command can't go on, and the exit code that goes with it."""

from __future__ import annotations

import traceback

from runner.cli.out import Out
from runner.cli.words import count, plain
from runner.errors import ManifestError, RunnerError


def exit_code_for(out: Out, error: Exception) -> int:
    """Say what went wrong, on stderr and without a traceback, and return the exit code."""
    if isinstance(error, ManifestError):
        for problem in error.problems:
            out.note(plain(str(problem)))
        out.note(f"{count(len(error.problems), 'mistake')}; nothing was sent")
    elif isinstance(error, RunnerError):
        out.note(f"runner: {plain(str(error))}", style="red")
    else:
        return _internal(out, error)
    if out.json:
        out.record({"type": "error", "exit_code": error.exit_code, **_facts(error)})
    return error.exit_code


def _facts(error: RunnerError) -> dict[str, object]:
    if isinstance(error, ManifestError):
        return {
            "message": "the manifest has mistakes; nothing was sent",
            "problems": [
                {
                    "file": problem.file,
                    "line": problem.line,
                    "column": problem.column,
                    "message": problem.message,
                }
                for problem in error.problems
            ],
        }
    return {"message": str(error)}


def _internal(out: Out, error: Exception) -> int:
    """A mistake of this program: short, unless more was asked for."""
    if out.verbose:
        out.note("".join(traceback.format_exception(error)).rstrip())
    out.note(
        f"runner: internal error: {type(error).__name__}: {plain(str(error))}. What was stored is safe. "
        + ("" if out.verbose else "The same command with -v shows where; ")
        + "runner resume continues",
        style="red",
    )
    if out.json:
        message = f"internal error: {type(error).__name__}"
        out.record({"type": "error", "exit_code": 1, "message": message})
    return 1
