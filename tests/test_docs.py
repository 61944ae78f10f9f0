"""The documentation is true: its commands run as written, its manifests load, its tables are those of the code.

Fences are executed or loaded by their language:

- `sh`: every line is a command. `console`: lines behind `$ ` are, and what follows is their output, in which `…` stands
  for anything (alone on a line: for any lines). A command that fails is followed by `echo $?`.
- `yaml`: a manifest, a providers file, or one key of a manifest.
- `<!-- file: NAME -->` in front of a fence puts it into the page's folder under that name.
- `<!-- not run: WHY -->` and `<!-- not loaded: WHY -->` keep a fence from it, for one of the reasons below.

The one thing that is mapped: `runner simulate` gets `--port 0`, as the usual port may be taken on this machine.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import runner
from runner.causes import Cause
from runner.cli import app
from runner.manifest import load, schema
from runner.providers import entry, load_providers
from runner.providers.provider import Auth
from runner.simulator.cli import app as simulate

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = (
    *GUIDE,
    *(
        ROOT / name
        for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md")
    ),
)
REASONS = {"installs", "needs a key", "needs a picture", "changes this machine"}
HEAD = "version: 1\nprovider: fal\nmodel: fal-ai/kling-video/v2.5-turbo/pro/text-to-video\nprompts: [a boat]\n"
MARK = "@@@"
LIMIT = 60  # seconds that a page's fence may take


sys.path.append(str(ROOT / "docs"))
generate: Any = importlib.import_module("generate")
tables: Any = importlib.import_module("tables")
declared: Any = importlib.import_module("declared")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced part of a page; `note` is what the comment in front of it says."""

    page: Path
    line: int
    language: str
    text: str
    note: str = ""

    @property
    def skipped(self) -> bool:
        """Whether a comment keeps it from being run or loaded."""
        return self.note.startswith("not ")

    def __str__(self) -> str:
        """Its place."""
        return f"{self.page.name}:{self.line}"


def fences(page: Path) -> Iterator[Fence]:
    """The fences of a page, in order."""
    text = page.read_text("utf-8")
    for found in re.finditer(
        r"(?:<!-- ([^>]*) -->\n+)?^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    ):
        yield Fence(
            page, text.count("\n", 0, found.start(2)) + 1, found[2], found[3], found[1] or ""
        )


FENCES = [fence for page in PAGES for fence in fences(page)]


def commands(fence: Fence) -> list[tuple[str, str]]:
    """The commands of a fence, each with the output that it should have."""
    lines = fence.text.splitlines()
    if fence.language == "sh":
        return [(line, "…") for line in lines if line.strip() and not line.startswith("#")]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(output)) for command, output in found]


def pattern(expected: str) -> str:
    """A regular expression for an expected output."""
    parts = [
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r" *\n"
        for line in expected.splitlines()
    ]
    return "".join(parts)


class Desk:
    """A folder with the files of a page, and a shell in which `runner` is this one."""

    def __init__(self, folder: Path, page: Path, stack: ExitStack) -> None:
        self._folder = folder / "desk"
        self._stack = stack
        tools = folder / "bin"
        tools.mkdir()
        python = shlex.quote(sys.executable)
        simulate = f'if [ "$1" = simulate ]; then exec {python} -m runner "$@" --port 0; fi\n'
        self._tool(tools / "runner", f'{simulate}exec {python} -m runner "$@"\n')
        self._tool(tools / "python3", f'exec {python} "$@"\n')
        shutil.copytree(ROOT / "jobs", self._folder / "jobs")
        for fence in fences(page):
            if fence.note.startswith("file: "):
                (self._folder / fence.note.removeprefix("file: ")).write_text(fence.text, "utf-8")
        self._env = {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "200",
        }  # fmt: skip

    @staticmethod
    def _tool(path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}", "utf-8")
        path.chmod(0o755)

    def run(self, fence: Fence) -> None:
        """Run a fence and compare what it prints."""
        found = commands(fence)
        if found[0][0].startswith("runner simulate"):
            assert len(found) == 1, f"{fence}: the simulator has a window of its own"
            self._start(found[0][0])
            return
        script = "".join(
            f"echo {MARK}; (exit $code)\n{command}\ncode=$?; echo {MARK}$code\n"
            for command, _ in found
        )
        done = subprocess.run(
            ["bash", "-c", f"code=0\n{script}"], cwd=self._folder, env=self._env, text=True, encoding="utf-8",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False,
        )  # fmt: skip
        said = re.findall(rf"{MARK}\n(.*?){MARK}(\d+)\n", done.stdout, re.DOTALL)
        assert len(said) == len(found), f"{fence}: {done.stdout}"
        followers = [command for command, _ in found[1:]] + [""]
        for (command, expected), (output, code), follower in zip(
            found, said, followers, strict=True
        ):
            assert code == "0" or follower == "echo $?", (
                f"{fence}: {command} ended with {code}:\n{output}"
            )
            assert re.fullmatch(pattern(expected), output), f"{fence}: {command} says:\n{output}"

    def _start(self, command: str) -> None:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self._folder, env=self._env, text=True, encoding="utf-8",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._stack.callback(process.communicate)
        self._stack.callback(process.terminate)
        assert process.stdout is not None
        said = ""
        while "Ctrl-C stops" not in said:
            line = process.stdout.readline()
            assert line, f"{command}: {said}"
            said += line


WITH_COMMANDS = [
    page for page in GUIDE if any(fence.language in ("sh", "console") for fence in fences(page))
]


def play(page: Path, folder: Path) -> None:
    """Type the commands of a page, from top to bottom."""
    folder.mkdir()
    with ExitStack() as stack:
        desk = Desk(folder, page, stack)
        for fence in fences(page):
            if fence.language in ("sh", "console") and not fence.skipped:
                desk.run(fence)


@pytest.mark.skipif(os.name == "nt", reason="the commands are written for a POSIX shell")
def test_commands_run_as_they_are_written(tmp_path: Path) -> None:
    """Whoever copies the commands of a page, from top to bottom, sees what the page shows."""
    with ThreadPoolExecutor() as pages:
        list(pages.map(lambda page: play(page, tmp_path / page.stem), WITH_COMMANDS))


def test_what_is_not_run_has_a_reason() -> None:
    """A fence is left out for one of a few reasons, which stands beside it."""
    reasons = {fence.note.partition(": ")[2] for fence in FENCES if fence.skipped}
    assert reasons <= REASONS


@pytest.mark.parametrize("fence", [fence for fence in FENCES if fence.language == "yaml"], ids=str)
def test_yaml_is_what_the_loaders_take(tmp_path: Path, fence: Fence) -> None:
    """Every manifest and providers file loads, and a single key does under a manifest's head."""
    if fence.skipped:
        shutil.copy(ROOT / "jobs" / "tide.jpg", tmp_path)
    for other in fences(fence.page):
        if other.note.startswith("file: "):
            (tmp_path / other.note.removeprefix("file: ")).write_text(other.text, "utf-8")
    path = tmp_path / "this.yaml"
    root = yaml.compose(fence.text)
    assert root is not None
    names = root.value
    first = names[0][0].value
    path.write_text(fence.text if first in ("version", "providers") else HEAD + fence.text, "utf-8")
    if first == "providers":
        written = {key.value for key, _ in names[0][1].value}
        assert written <= load_providers(path).keys()
    else:
        assert load(path, now=declared.NOW).items


def test_generated_parts_are_current() -> None:
    """Tables and the state diagram are those of the code. To renew them: python docs/generate.py."""
    stale = [page.name for page in GUIDE if generate.fresh(text := page.read_text("utf-8")) != text]
    assert stale == []


def the_command_line() -> dict[str, set[str]]:
    """Every command with its options; the general ones are under an empty name."""
    group: Any = typer.main.get_command(app)
    found = {"": _options(group)}
    for name, command in group.commands.items():
        found[name] = _options(typer.main.get_command(simulate) if name == "simulate" else command)
    return found


def _options(command: Any) -> set[str]:
    return {
        name
        for param in command.params
        if param.param_type_name == "option"
        for name in (*param.opts, *param.secondary_opts)
    } | {"--help", "-h"}


def test_every_command_and_option_is_documented() -> None:
    """What `--help` knows, the README knows."""
    text = (ROOT / "README.md").read_text("utf-8")
    known = the_command_line()
    silent = [name for name in known if name and f"`runner {name}" not in text]
    silent += [f"{name} {each}" for name, options in known.items() for each in options - {"--help", "-h"}
               if not re.search(rf"`{each}[` ]", text)]  # fmt: skip
    assert silent == []


def written_commands(text: str) -> Iterator[list[str]]:
    """Every `runner …` in a text: in fences, in crontabs, between backticks."""
    for found in re.findall(r"(?:^|[`$&] ?|&& )(runner [^`\n]*)", text, re.MULTILINE):
        words = shlex.split(found, comments=True)
        if all(re.fullmatch(r"[\w./:,=*@%…' -]+", word) for word in words):
            yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_is_made_up(page: Path) -> None:
    """Every command and option that a page names exists, in what is not run either."""
    known = the_command_line()
    wrong = []
    for words in written_commands(page.read_text("utf-8")):
        named = [word for word in words[1:] if word in known and word]
        command = named[0] if named else ""
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        unknown = options - known[command] - known[""]
        if unknown or (not named and not options):
            wrong.append(" ".join(words))
    assert wrong == []


def test_every_manifest_key_is_documented() -> None:
    """What the schema knows, docs/manifest.md knows."""
    text = (ROOT / "docs" / "manifest.md").read_text("utf-8")
    whole = schema()
    names = set(whole["properties"]).union(
        *(part["properties"] for part in whole["$defs"].values())
    )
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_every_key_of_a_providers_file_is_documented() -> None:
    """What the reader of providers files knows, docs/providers.md knows."""
    text = (ROOT / "docs" / "providers.md").read_text("utf-8")
    names = {
        *entry._KEYS,
        *entry._PER,
        *entry._TRAITS,
        *Auth.__slots__,
        "submits",
        "in_flight",
        "requests",
        "posts",
    }
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_every_cause_is_documented() -> None:
    """Whoever meets a cause finds it in the README, with its explanation."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert [cause for cause in Cause if f"| `{cause}` | {cause.explanation}" not in text] == []


def test_every_exit_code_is_documented() -> None:
    """The exit codes that `runner run --help` names stand in the README's table."""
    group: Any = typer.main.get_command(app)
    text = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"(\d|128\+N) ", group.commands["run"].help.partition("Exit:")[2])
    assert len(named) >= 9
    assert [code for code in named if f"\n| {code} | " not in text] == []


def test_every_module_is_on_the_map() -> None:
    """docs/architecture.md names each module once."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    package = Path(runner.__file__).parent
    names = [
        path.relative_to(package).with_suffix("").as_posix() for path in tables.package_files()
    ]
    assert {name: count for name in names if (count := text.count(f"\n- `{name}` ")) != 1} == {}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the project, or to a heading, has a target."""
    broken = []
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_make_has_the_targets_that_are_named() -> None:
    """`make …` in the documentation is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert named
    assert named <= targets


def test_the_order_of_tests_is_described() -> None:
    """tests/README.md names every folder and file of tests."""
    text = (ROOT / "tests" / "README.md").read_text("utf-8")
    here = ROOT / "tests"
    names = [path.name for path in here.iterdir() if path.is_dir() and any(path.glob("test_*.py"))]
    names += [path.name for path in here.glob("test_*.py")]
    assert [name for name in sorted(names) if f"`{name}" not in text] == []


def test_the_generator_is_small_and_says_what_it_does() -> None:
    """The scripts beside the pages keep to the sizes of the rest."""
    for path in (ROOT / "docs").glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 300
        assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
