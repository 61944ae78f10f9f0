"""The command `simulate`: start the simulator, say where it is, stop when told to."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from .faults import Fault
from .kinds import KINDS
from .server import Simulator
from .settings import Latency, RateLimit, Settings
from .systems import SYSTEMS

HELP = """Start a stand-in for every provider on this machine. Nothing is bought, no key is needed.

It speaks both protocols the way each real system does, remembers every task it accepted in a \
ledger, and misbehaves on demand. Base URLs: http://127.0.0.1:8765/as/SYSTEM for the systems \
winfull, quickrouter, uniapi, kling-gateway, fal, kling; without /as/SYSTEM anything goes.

\b
Examples:
  runner simulate
  runner --providers state/simulator/providers.yaml run jobs/01-simulator.yaml
  runner simulate --fault accepted-then-dropped,rate=0.1 --fault media-cut,times=2
  runner simulate --run-time lognormal:20,60 --concurrency 4 --rate-limit sliding:30/1m
  runner simulate --set kling-gateway.fetch=F2 --set uniapi.placeholder=own

\b
From another window:
  curl http://127.0.0.1:8765/_sim/ledger
  curl http://127.0.0.1:8765/_sim/log
  curl -X POST http://127.0.0.1:8765/_sim/faults -d '{"name": "too-many-once", "system": "fal"}'
  curl -X DELETE http://127.0.0.1:8765/_sim/faults
  curl -X POST http://127.0.0.1:8765/_sim/reset
"""

_Option = typer.Option
Port = Annotated[int, _Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Host = Annotated[str, _Option(help="Address to listen on. Keep it on this machine.")]
Write = Annotated[
    Path, _Option("--write", metavar="DIR", help="Write providers.yaml and .env into this folder.")
]
NoWrite = Annotated[bool, _Option("--no-write", help="Write no files.")]
Faults = Annotated[
    list[str] | None,
    _Option("--fault", metavar="NAME[,rate=0.1][,times=2][,path=GLOB][,system=GLOB][,arg=X]",
            help="Something that goes wrong. Repeatable."),
]  # fmt: skip
ListFaults = Annotated[bool, _Option("--list-faults", help="Explain every fault and leave.")]
ListSystems = Annotated[bool, _Option("--list-systems", help="Explain every system and leave.")]
Seed = Annotated[int, _Option(help="The same seed and requests repeat a run.")]
QueueTime = Annotated[str, _Option(help="Waiting time: fixed:2, uniform:1,3, lognormal:2,6 (s).")]
RunTime = Annotated[str, _Option(help="Running time, written in the same way.")]
Concurrency = Annotated[int, _Option(min=1, help="Tasks at once: fal queues more, Kling refuses.")]
Rate = Annotated[
    str | None, _Option("--rate-limit", help="429 above this: 30/1m, sliding:30/1m, bucket:5/1s.")
]
RetryAfter = Annotated[bool, _Option(help="Whether a 429 carries Retry-After.")]
RateScope = Annotated[str, _Option(help="What the rate counts: submits or requests.")]
Ttl = Annotated[float | None, _Option("--result-ttl", help="Seconds that result URLs work.")]
Expired = Annotated[int, _Option(help="What an expired URL answers: 403 or 404.")]
Price = Annotated[float, _Option(help="USD per billed task, for the ledger.")]
Keys = Annotated[
    list[str] | None, _Option("--key", help="Accept only this key. Repeatable. Default: any.")
]
Word = Annotated[str, _Option(help="A prompt with this word fails by content policy.")]
Change = Annotated[
    list[str] | None,
    _Option("--set", metavar="SYSTEM.FIELD=VALUE", help="Change a system. Repeatable."),
]


def simulate(
    *, port: Port = 8765, host: Host = "127.0.0.1", write: Write = Path("state/simulator"),
    no_write: NoWrite = False, fault: Faults = None, list_faults: ListFaults = False,
    list_systems: ListSystems = False, seed: Seed = 0, queue_time: QueueTime = "uniform:0.5,1.5",
    run_time: RunTime = "lognormal:3,8", concurrency: Concurrency = 20, rate_limit: Rate = None,
    retry_after: RetryAfter = True, rate_scope: RateScope = "submits", result_ttl: Ttl = None,
    expired_status: Expired = 403, price: Price = 0.35, key: Keys = None,
    policy_word: Word = "forbiddenword", change: Change = None,
) -> None:  # fmt: skip
    """Start the simulator and serve until interrupted."""
    if list_faults or list_systems:
        typer.echo(faults_table() if list_faults else systems_table())
        return
    try:
        limit = rate_limit and RateLimit.parse(
            rate_limit, retry_after=retry_after, scope=rate_scope
        )
        settings = Settings(
            seed=seed, queue=Latency.parse(queue_time), run=Latency.parse(run_time),
            concurrency=concurrency, rate_limit=limit or None, result_ttl=result_ttl,
            expired_status=expired_status, price=price, accept_any_key=not key,
            keys=tuple(key or ()), policy_word=policy_word or None,
        )  # fmt: skip
        settings = with_changes(settings, change or ())
        faults = [Fault.parse(text) for text in fault or ()]
    except ValueError as error:
        typer.echo(f"simulate: {error}", err=True)
        raise typer.Exit(2) from error
    folder = None if no_write else write
    try:
        asyncio.run(serve(settings, faults, host=host, port=port, write=folder))
    except OSError as error:
        typer.echo(f"simulate: can't listen on {host}:{port} or write files: {error}", err=True)
        raise typer.Exit(9) from error


def with_changes(settings: Settings, changes: Sequence[str]) -> Settings:
    """Apply `SYSTEM.FIELD=VALUE` texts. Raises ValueError on a malformed or unknown one."""
    for text in changes:
        place, equals, value = text.partition("=")
        name, dot, field = place.partition(".")
        if not (equals and dot):
            raise ValueError(f"--set {text!r}: write SYSTEM.FIELD=VALUE, as kling-gateway.fetch=F2")
        settings = settings.with_system(name, **{field: value})
    return settings


def faults_table() -> str:
    """Every fault on one line: name, where it acts, what it does, the default argument."""
    lines = []
    for kind in KINDS.values():
        default = f"  [ARG: {kind.arg}]" if kind.arg is not None else ""
        lines.append(f"{kind.name:<24} {kind.on:<16} {kind.help}{default}")
    return "\n".join(lines)


def systems_table() -> str:
    """Every system on one line: name, base path, auth scheme, whom it imitates."""
    lines = []
    for system in SYSTEMS.values():
        base = "/" if system.name == "any" else f"/as/{system.name}"
        lines.append(f"{system.name:<14} {base:<18} {system.auth:<7} {system.title}")
    return "\n".join(lines)


async def serve(
    settings: Settings,
    faults: Sequence[Fault] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    write: Path | None = None,
    say: Callable[[str], object] = typer.echo,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or `stop`; print the base URLs and write the files for the runner.

    Raises OSError when the port is taken or the files can't be written.
    """
    stop = stop or asyncio.Event()
    async with Simulator(settings, faults, host=host, port=port) as sim:
        with _signals(stop):
            for name, url in sim.base_urls.items():
                say(f"{name:<14} {url}")
            if write is not None:
                target, _ = sim.write_files(write)
                say(f"\nrunner --providers {target} run jobs/...")
            say(f"curl {sim.url}/_sim/ledger    (what was bought; also log, faults)\nCtrl-C stops.")
            await stop.wait()
        spent = sim.ledger.spent(sim.now)
        say(f"{len(sim.ledger)} tasks accepted, {spent:.2f} USD not spent.")


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` on SIGINT and SIGTERM; handlers are put back afterwards. Main thread only."""
    loop = asyncio.get_running_loop()

    def handler(*_: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    before = {}
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not the main thread: the caller has `stop`
            before[name] = signal.signal(name, handler)
    try:
        yield
    finally:
        for name, old in before.items():
            signal.signal(name, old)


app = typer.Typer(add_completion=False)
app.command(help=HELP)(simulate)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command by itself: `python -m runner.simulator`. Exits with the command's code."""
    app(args=None if argv is None else list(argv), prog_name="runner simulate")
