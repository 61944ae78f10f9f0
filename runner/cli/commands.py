"""The commands. Their work is imported when one of them is called, because `--help` should answer at once."""

# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path

import typer

from runner.cli import options as opt
from runner.cli.general import General, begin

app = typer.Typer(
    cls=opt.Anywhere,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _general(ctx: typer.Context) -> General:
    general = ctx.find_object(General)
    if general is None:  # called without `main`, as tests do
        general = ctx.obj = begin()
    return general


def _leave(code: int) -> None:
    raise typer.Exit(code)


@app.callback(invoke_without_command=True)
def options(
    ctx: typer.Context,
    state: opt.State = None,
    providers: opt.Providers = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    version: opt.Version = False,
) -> None:
    """Buy AI video in bulk: a manifest of prompts in, clips on disk out, nothing paid twice.

    These options may stand before or after the command.
    """
    general = _general(ctx)
    out = general.out
    general.state, general.providers = state, providers
    out.json, out.quiet, out.verbose = json, quiet, verbose
    if version:
        from runner.cli.version import version as installed

        out.say(f"runner {installed()}")
        if json:
            out.record({"type": "version", "version": installed()})
        _leave(0)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        _leave(0)


@app.command()
def demo(ctx: typer.Context) -> None:
    """See all of it without a key: a batch on a simulator, killed in the middle and resumed."""
    from runner.cli.demo import demo as work

    _leave(work(_general(ctx)))


@app.command()
def init(ctx: typer.Context, folder: opt.Folder = Path()) -> None:
    """Write a first manifest, a providers file, an editor schema and a .gitignore."""
    from runner.cli.setup import init as work

    work(_general(ctx), folder)


@app.command()
def plan(ctx: typer.Context, manifests: opt.ManifestFiles, max_jobs: opt.MaxJobs = None) -> None:
    """Say what a run would do and cost. Sends nothing, needs no key."""
    from runner.cli.ahead import plan as work

    work(_general(ctx), manifests, max_jobs)


@app.command()
def run(
    ctx: typer.Context,
    manifests: opt.ManifestFiles,
    until: opt.Until = None,
    max_duration: opt.MaxDuration = None,
    budget: opt.Budget = None,
    limit: opt.Limit = None,
    max_jobs: opt.MaxJobs = None,
    if_running: opt.WhenRunning = opt.IfRunning.FAIL,
) -> None:
    """Submit, poll and download until nothing is left. The same command resumes.

    Exit: 0 all done · 2 usage or manifest, nothing sent · 3 some failed · 4 some need a person · 5 budget reached ·
    6 provider refused us · 7 another runner holds the state · 8 time reached · 9 state or disk · 128+N signal.
    """
    from runner.cli.running import Wishes
    from runner.cli.running import run as work

    skip = if_running is opt.IfRunning.SKIP
    wishes = Wishes(until, max_duration, budget, limit, max_jobs, skip=skip)
    _leave(work(_general(ctx), manifests, wishes))


@app.command()
def resume(
    ctx: typer.Context,
    until: opt.Until = None,
    max_duration: opt.MaxDuration = None,
    budget: opt.Budget = None,
    limit: opt.Limit = None,
    if_running: opt.WhenRunning = opt.IfRunning.FAIL,
) -> None:
    """Continue every unfinished batch of the state folder."""
    from runner.cli.running import Wishes
    from runner.cli.running import resume as work

    wishes = Wishes(until, max_duration, budget, limit, skip=if_running is opt.IfRunning.SKIP)
    _leave(work(_general(ctx), wishes))


@app.command()
def status(ctx: typer.Context, batches: opt.Batches = None) -> None:
    """Show counts, money, failures by cause and what to type; also while a runner works."""
    from runner.cli.looking import status as work

    work(_general(ctx), batches or [])


@app.command()
def jobs(
    ctx: typer.Context,
    batches: opt.Batches = None,
    state: opt.InState = None,
    cause: opt.WithCause = None,
    limit: opt.AtMost = 1_000,
) -> None:
    """List jobs."""
    from runner.cli.looking import jobs as work

    work(_general(ctx), batches or [], states=state or [], cause=cause, limit=limit)


@app.command()
def show(ctx: typer.Context, job: opt.JobName) -> None:
    """Show everything about one job: request, attempts, files, history."""
    from runner.cli.showing import show as work

    work(_general(ctx), job)


@app.command()
def resolve(
    ctx: typer.Context,
    jobs: opt.JobNames = None,
    adopt: opt.Adopt = None,
    lost: opt.Lost = False,
    paid: opt.Paid = False,
    resubmit: opt.Resubmit = False,
    batch: opt.OfBatch = None,
    every: opt.Every = False,
    yes: opt.Yes = False,
) -> None:
    """Show jobs in doubt and what to look for at the provider; settle them."""
    if adopt is None and not (lost or paid or resubmit or every):
        from runner.cli.doubt import doubts

        doubts(_general(ctx), jobs or [], batch)
        return
    from runner.cli.deciding import Choice, Settlement
    from runner.cli.deciding import resolve as work

    choice = Choice(jobs or [], batch, every=every)
    _leave(work(_general(ctx), choice, Settlement(adopt, lost, paid, resubmit), yes=yes))


@app.command()
def retry(
    ctx: typer.Context,
    jobs: opt.JobNames = None,
    cause: opt.OfCause = None,
    batch: opt.OfBatch = None,
    buy: opt.Buy = False,
    yes: opt.Yes = False,
) -> None:
    """Queue failed and cancelled jobs again. What is paid for is fetched again instead, free of charge.

    The price comes first. Cancelled jobs are retried when they are named, or with --cause cancelled.
    """
    from runner.cli.deciding import Choice
    from runner.cli.deciding import retry as work

    _leave(work(_general(ctx), Choice(jobs or [], batch, cause), buy=buy, yes=yes))


@app.command()
def cancel(
    ctx: typer.Context,
    jobs: opt.JobNames = None,
    batch: opt.OfBatch = None,
    queued: opt.Queued = False,
) -> None:
    """Give jobs up, at the provider too where it can cancel. What completes all the same is kept."""
    from runner.cli.deciding import Choice
    from runner.cli.deciding import cancel as work

    _leave(work(_general(ctx), Choice(jobs or [], batch), queued=queued))


@app.command()
def verify(ctx: typer.Context, batches: opt.Batches = None, repair: opt.Repair = False) -> None:
    """Hash every clip again and name those that are gone or damaged (exit 3)."""
    from runner.cli.checking import verify as work

    _leave(work(_general(ctx), batches or [], repair=repair))


@app.command()
def providers(ctx: typer.Context) -> None:
    """List providers: address, key, limits, protocols, and which file says so."""
    from runner.cli.sellers import providers as work

    work(_general(ctx))


@app.command()
def schema(ctx: typer.Context, write: opt.WriteTo = None) -> None:
    """Print the manifest's JSON Schema, for editors."""
    from runner.cli.setup import schema as work

    work(_general(ctx), write)


@app.command(
    add_help_option=False,
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": [],
    },
)
def simulate(ctx: typer.Context) -> None:
    """Start a stand-in for every provider on this machine (its options: runner simulate --help)."""
    from runner.cli import garbage
    from runner.simulator.cli import main as work

    garbage.usually()
    work(ctx.args)
