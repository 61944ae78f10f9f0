"""What can be typed: the general options, which stand before or after the command, and the types of the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_Option = typer.Option
_SHORT_FLAGS = re.compile(r"-[qv]+")
_FLAGS = frozenset({"--json", "--quiet", "--verbose", "--version"})
_WITH_VALUE = frozenset({"--state", "--providers"})


class Anywhere(TyperGroup):
    """Lets the general options stand after the command, too, except where the command has one of that name itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the general options to the front."""
        return super().parse_args(ctx, hoisted(args, self._own()))

    def _own(self) -> dict[str, frozenset[str]]:
        return {
            name: frozenset(option for param in command.params for option in param.opts)
            for name, command in self.commands.items()
        }


def hoisted(args: Sequence[str], own: dict[str, frozenset[str]]) -> list[str]:
    """Order arguments: general options, the command, its own arguments. What follows `--` stays where it is."""
    front: list[str] = []
    rest: list[str] = []
    command: str | None = None
    waiting = list(args)
    while waiting:
        word = waiting.pop(0)
        name, equals, _ = word.partition("=")
        mine = name not in own.get(command or "", frozenset())
        if word == "--":
            return [*front, *rest, word, *waiting]
        if mine and (name in _FLAGS or _SHORT_FLAGS.fullmatch(word)):
            front.append(word)
        elif mine and name in _WITH_VALUE:
            front.append(word)
            if not equals and waiting:
                front.append(waiting.pop(0))
        else:
            if command is None and word in own:
                command = word
            rest.append(word)
    return [*front, *rest]


class IfRunning(StrEnum):
    """What to do when another runner holds the state folder."""

    FAIL = "fail"
    SKIP = "skip"


State = Annotated[
    Path | None,
    _Option("--state", metavar="DIR", envvar="RUNNER_STATE", show_envvar=True, show_default=False,
            help="Where jobs and outputs are kept. Default: state"),
]  # fmt: skip
Providers = Annotated[
    Path | None,
    _Option("--providers", metavar="FILE", help="Providers file. Default: providers.yaml here, "
            "then the one in your config folder"),
]  # fmt: skip
Json = Annotated[bool, _Option("--json", help="JSON lines on stdout, nothing else.")]
Quiet = Annotated[bool, _Option("--quiet", "-q", help="Say only what needs a person.")]
Verbose = Annotated[bool, _Option("--verbose", "-v", help="Say more; show where errors come from.")]
Version = Annotated[bool, _Option("--version", help="Show the version and leave.")]

ManifestFile = Annotated[Path, typer.Argument(metavar="MANIFEST", show_default=False)]
ManifestFiles = Annotated[list[Path], typer.Argument(metavar="MANIFEST...", show_default=False)]
Batches = Annotated[list[str] | None, typer.Argument(metavar="BATCH", show_default=False)]
Folder = Annotated[Path, typer.Argument(metavar="[DIR]", show_default=False)]
JobName = Annotated[
    str, typer.Argument(metavar="JOB", show_default=False,
                        help="An id, BATCH/ID, the beginning of a key, or the provider's own id.")
]  # fmt: skip
Until = Annotated[
    str | None, _Option("--until", metavar="07:00", help="Stop at the next such local time.")
]
MaxDuration = Annotated[
    str | None, _Option("--max-duration", metavar="6h", help="Stop after this long.")
]
Budget = Annotated[
    str | None,
    _Option("--budget", metavar="'25 USD'", help="Spend no more than this in this run."),
]
Limit = Annotated[int | None, _Option("--limit", metavar="N", min=0, help="Submit at most N jobs.")]
MaxJobs = Annotated[
    int | None,
    _Option(
        "--max-jobs",
        metavar="N",
        min=1,
        help="Let a manifest make up to N jobs. Default: 100,000 written in it, 1,000,000 with files of rows.",
    ),
]
WhenRunning = Annotated[
    IfRunning,
    _Option(
        "--if-running", help="When another runner holds the state: fail (exit 7) or skip (exit 0)."
    ),
]
InState = Annotated[
    list[str] | None,
    _Option("--state", metavar="STATE", help="Only jobs in this state, or several with commas. (The state "
            "folder goes before the command.)"),
]  # fmt: skip
WithCause = Annotated[
    str | None, _Option("--cause", metavar="CAUSE", help="Only jobs with this cause.")
]
AtMost = Annotated[int, _Option("--limit", metavar="N", min=1, help="Show at most N jobs.")]
WriteTo = Annotated[
    Path | None, _Option("--write", metavar="FILE", help="Write it there instead of printing it.")
]
JobNames = Annotated[
    list[str] | None, typer.Argument(metavar="JOB", show_default=False,
                                     help="An id, BATCH/ID, the beginning of a key, or the provider's own id.")
]  # fmt: skip
OfBatch = Annotated[str | None, _Option("--batch", metavar="BATCH", help="Jobs of this batch.")]
OfCause = Annotated[str | None, _Option("--cause", metavar="CAUSE", help="Jobs with this cause.")]
Every = Annotated[bool, _Option("--all", help="Every job that no run looks up by itself.")]
Yes = Annotated[bool, _Option("--yes", "-y", help="Don't ask before money is spent.")]
Adopt = Annotated[
    str | None,
    _Option("--adopt", metavar="REMOTE_ID", help="The provider has it, under this id: fetch it."),
]
Lost = Annotated[bool, _Option("--lost", help="The provider did not take it: send it again.")]
Paid = Annotated[bool, _Option("--paid", help="It was taken and is gone: failed, and spent.")]
Resubmit = Annotated[
    bool, _Option("--resubmit", help="Nobody knows: send it again, though it may be paid twice.")
]
Buy = Annotated[
    bool, _Option("--buy", help="Buy again even what could be fetched again free of charge.")
]
Queued = Annotated[bool, _Option("--queued", help="Only jobs that were not sent yet.")]
Repair = Annotated[bool, _Option("--repair", help="Have them fetched again, free of charge.")]
