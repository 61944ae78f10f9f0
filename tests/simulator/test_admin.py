"""Other processes read the ledger and set faults over HTTP, and start it from a command line."""

from __future__ import annotations

import asyncio
import signal
import stat
import sys
from pathlib import Path

import aiohttp
import pytest
import yaml
from typer.testing import CliRunner

from runner.simulator import KINDS, SYSTEMS, Fault, Settings
from runner.simulator.cli import app, serve
from tests.simulator.asking import Client


async def test_the_ledger_over_http(client: Client) -> None:
    """Counts, the sum, and each task as the object has it; a system can be picked."""
    await client.buy("fal")
    await client.buy("kling-gateway", external_task_id="j")
    page = (await client.ask("any", "GET", "/_sim/ledger")).json
    assert (page["accepted"], page["billed"], page["usd"]) == (2, 2, 0.7)
    assert page["tasks"][1] == client.sim.ledger[1].as_dict(client.clock.now)
    only = (await client.ask("any", "GET", "/_sim/ledger?system=fal")).json
    assert [task["system"] for task in only["tasks"]] == ["fal"]


async def test_the_log_over_http(client: Client) -> None:
    """Every request with the key it carried, its body and what it was answered."""
    await client.buy("winfull", prompt="boats")
    entry = (await client.ask("any", "GET", "/_sim/log")).json[0]
    assert (entry["system"], entry["method"], entry["status"]) == ("winfull", "POST", 200)
    assert (entry["scheme"], entry["key"]) == ("Bearer", "sim-key")
    assert (entry["body"], entry["operation"]) == ({"prompt": "boats"}, "submit")


async def test_faults_over_http(client: Client) -> None:
    """Set one or several, as objects or text; look; take them away; start over."""
    both = [{"name": "too-many-once"}, "nginx-error,times=1"]
    assert (await client.ask("any", "POST", "/_sim/faults", both)).status == 201
    assert [(await client.buy()).status for _ in range(3)] == [502, 429, 200]
    listed = (await client.ask("any", "GET", "/_sim/faults")).json
    assert [(item["name"], item["fired"]) for item in listed] == [
        ("too-many-once", 1),
        ("nginx-error", 1),
    ]
    bad = await client.ask("any", "POST", "/_sim/faults", {"name": "nonsense"})
    assert (bad.status, "--list-faults" in bad.json["error"]) == (400, True)
    assert (await client.ask("any", "DELETE", "/_sim/faults")).json == []
    await client.ask("any", "POST", "/_sim/reset")
    assert (len(client.sim.ledger), len(client.sim.log)) == (0, 0)
    assert (await client.ask("any", "GET", "/_sim/nowhere")).status == 404


async def test_an_unknown_system_is_named(client: Client) -> None:
    """A mistyped base URL says which there are."""
    answer = await client.ask("any", "GET", "/as/nobody/x")
    assert (answer.status, "quickrouter" in answer.json["detail"]) == (404, True)


def test_help_and_lists() -> None:
    """--help, --list-faults and --list-systems name everything and leave."""
    run = CliRunner().invoke
    assert "curl" in run(app, ["--help"]).output
    faults = run(app, ["--list-faults"]).output
    assert all(name in faults for name in KINDS)
    systems = run(app, ["--list-systems"]).output
    assert all(name in systems for name in SYSTEMS)


@pytest.mark.parametrize(
    "arguments",
    [["--fault", "nonsense"], ["--run-time", "fast"], ["--set", "fal.fetch=F9"], ["--set", "x"],
     ["--rate-limit", "many"]],
)  # fmt: skip
def test_a_bad_argument_is_exit_2(arguments: list[str]) -> None:
    """Nothing is started, and the reason is on stderr."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("simulate: ")


async def test_serving_writes_files_that_lead_to_it(tmp_path: Path) -> None:
    """providers.yaml has each system's base URL and scheme; .env has dummy keys; both are 0600."""
    stop, said = asyncio.Event(), asyncio.Queue[str]()
    folder = tmp_path / "simulator"
    task = asyncio.create_task(
        serve(
            Settings(),
            [Fault("too-many-once")],
            port=0,
            write=folder,
            say=said.put_nowait,
            stop=stop,
        )
    )
    while "Ctrl-C" not in await asyncio.wait_for(said.get(), 5):
        pass
    document = yaml.safe_load((folder / "providers.yaml").read_text(encoding="utf-8"))["providers"]
    assert set(document) == {*SYSTEMS, "simulator"} - {"any"}
    assert document["uniapi"]["auth"] == {"scheme": "Key", "env": "UNIAPI_API_KEY"}
    assert document["simulator"]["auth"] == {"scheme": "none"}
    assert document["kling"]["auth"]["secret_env"] == "KLING_SECRET_KEY"
    base = document["fal"]["base_url"]
    async with aiohttp.ClientSession() as http, http.get(base + "/_sim") as response:
        assert response.status == 401
    keys = (folder / ".env").read_text(encoding="utf-8")
    assert "FAL_KEY=sim-key\n" in keys
    if sys.platform != "win32":
        for name in ("providers.yaml", ".env"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_it_never_overwrites_somebody_elses_keys(tmp_path: Path) -> None:
    """A folder with a .env that isn't the simulator's is refused and left as it was."""
    (tmp_path / ".env").write_text("FAL_KEY=real\n", encoding="utf-8")
    with pytest.raises(FileExistsError, match="--write"):
        async with asyncio.timeout(5):
            await serve(Settings(), port=0, write=tmp_path, say=str, stop=asyncio.Event())
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "FAL_KEY=real\n"
    assert not (tmp_path / "providers.yaml").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """The process says goodbye and exits 0."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runner.simulator", "--port", "0", "--no-write",
        cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    while b"Ctrl-C" not in await asyncio.wait_for(process.stdout.readline(), 10):
        pass
    process.send_signal(number)
    rest, _ = await asyncio.wait_for(process.communicate(), 10)
    assert b"0 tasks accepted" in rest
    assert process.returncode == 0
