"""The providers file: presets, overrides, and everything that can be wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ManifestError, UsageError
from runner.limits import Limits, Rate
from runner.providers import (
    Auth,
    Fal,
    Kling,
    dialect_for,
    find_providers_file,
    load_providers,
    presets,
)
from runner.providers.file import _read
from tests.providers.talk import GATEWAY, NATIVE, TEXT


def _load(tmp_path: Path, text: str) -> dict[str, object]:
    path = tmp_path / "providers.yaml"
    path.write_text(text, "utf-8")
    return dict(load_providers(path))


def test_the_seven_systems_are_known() -> None:
    """Every system that must work is there without a file, with its address and way to present a key."""
    found = {
        name: (item.base_url, item.auth.scheme, item.auth.env) for name, item in presets().items()
    }
    assert found == {
        "winfull": ("https://aiapi.winfull.top", "Bearer", "WINFULL_API_KEY"),
        "quickrouter": ("https://api.quickrouter.ai", "Bearer", "QUICKROUTER_API_KEY"),
        "uniapi": ("https://api.uniapi.io", "Key", "UNIAPI_API_KEY"),
        "kling-gateway": ("", "Bearer", "KLING_GATEWAY_API_KEY"),
        "fal": ("https://queue.fal.run", "Key", "FAL_KEY"),
        "kling": ("https://api-singapore.klingai.com", "JWT", "KLING_ACCESS_KEY"),
        "simulator": ("http://127.0.0.1:8765", "none", ""),
    }
    assert presets()["kling"].auth.secret_env == "KLING_SECRET_KEY"


def test_only_the_simulator_is_private() -> None:
    """No preset but the one in the box may be reached on a private address."""
    assert [name for name, item in presets().items() if item.private] == ["simulator"]


def test_the_path_selects_the_dialect() -> None:
    """A first segment `kling` or `v1` is Kling, all else is the fal queue."""
    provider = presets()["winfull"]
    assert isinstance(dialect_for(provider, GATEWAY), Kling)
    assert isinstance(dialect_for(provider, "/" + NATIVE), Kling)
    assert isinstance(dialect_for(provider, TEXT), Fal)


def test_a_preset_without_an_address_says_what_to_write() -> None:
    """The gateway whose address only the user knows explains itself."""
    with pytest.raises(UsageError, match=r"kling-gateway:\n    base_url: https://"):
        dialect_for(presets()["kling-gateway"], GATEWAY)


def test_overrides_keep_the_rest_of_a_preset(tmp_path: Path) -> None:
    """A file changes what it names, and nothing else."""
    found = load_providers(_written(tmp_path, """
providers:
  quickrouter:
    base_url: http://127.0.0.1:8123/
    limits: {submits: 60/1m, in_flight: 20, requests: 10/1s}
    media_hosts: [127.0.0.1]
    prices: {fal-ai/kling-video/v2.5-turbo/pro/text-to-video: {per_second: 0.07}}
    kling: {numeric_duration: true, min_poll: 10s}
    max_result: 500 MB
    poll: frugal
"""))["quickrouter"]  # fmt: skip
    before = presets()["quickrouter"]
    assert (found.base_url, found.private) == ("http://127.0.0.1:8123", True)
    assert found.auth == before.auth
    assert found.limits == Limits(Rate(60, 60.0), 20, Rate(10, 1.0))
    assert found.media_hosts == ("127.0.0.1",)
    assert str(found.prices[TEXT].per_second) == "0.07"
    assert (found.max_result, found.poll) == (500_000_000, "frugal")
    assert found.kling.numeric_duration
    assert (found.kling.min_poll, found.kling.refuses_crowd) == (10.0, True)
    assert found.fal == before.fal


def test_an_override_that_leaves_the_address_stays_public(tmp_path: Path) -> None:
    """Plain http and private addresses are only for addresses that the user wrote."""
    text = "providers: {winfull: {limits: {posts: 2}}}"
    assert not load_providers(_written(tmp_path, text))["winfull"].private


def test_a_provider_of_ones_own(tmp_path: Path) -> None:
    """Any reseller is a few lines of data; the scheme is Bearer unless said otherwise."""
    text = """
x-common: &common {posts: 4}
providers:
  mine:
    base_url: https://api.example.com/v2
    auth: {env: MY_KEY}
    limits: *common
"""
    mine = load_providers(_written(tmp_path, text))["mine"]
    assert mine.auth == Auth("Bearer", "MY_KEY")
    assert (mine.base_url, mine.limits.posts) == ("https://api.example.com/v2", 4)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("providers:\n  fal: {base: x}", 2, 9, "Did you mean base_url?"),
        ("provider: {}", 1, 1, "Did you mean providers?"),
        ("providers:\n  fal: {base_url: ftp://x}", 2, 19, "is not an address"),
        ("providers:\n  fal: {base_url: 'https://u:p@x.example'}", 2, 19, "user or a key"),
        ("providers:\n  fal: {base_url: 'https://x.example?k=1'}", 2, 19, "no query"),
        ("providers:\n  fal: {base_url: 'https://x.example/#k'}", 2, 19, "no fragment"),
        ("providers:\n  fal: {base_url: 'https://x.example/a/../b'}", 2, 19, "'..'"),
        ("providers:\n  fal: {base_url: 'https://x.example:99999'}", 2, 19, "is not an address"),
        ("providers:\n  fal: {base_url: }", 2, 18, "is empty"),
        ("providers:\n  fal: {auth: {env: sk-123456}}", 2, 21, "never the key"),
        ("providers:\n  fal: {auth: {scheme: JWT}}", 2, 15, "needs two keys"),
        ("providers:\n  fal: {limits: {submits: fast}}", 2, 27, "30/1m"),
        ("providers:\n  fal: {limits: {in_flight: 0}}", 2, 29, "from 1"),
        ("providers:\n  fal: {prices: {m: {per_day: 1}}}", 2, 22, "has no key"),
        ("providers:\n  fal: {prices: {m: {currency: USD}}}", 2, 21, "exactly one of"),
        ("providers:\n  fal: {prices: {m: {per_job: -1}}}", 2, 31, "is not an amount"),
        ("providers:\n  fal: {media_hosts: cdn.example}", 2, 22, "has to be a list"),
        ("providers:\n  fal: {media_hosts: ['https://x']}", 2, 22, "is not a host"),
        ("providers:\n  fal: {max_result: much}", 2, 21, "5 GB"),
        ("providers:\n  fal: {poll: often}", 2, 15, "eager, normal or frugal"),
        ("providers:\n  fal: {kling: {lookup: true}}", 2, 16, "external_id: true"),
        ("providers:\n  fal: {kling: {lookup: yes}}", 2, 25, "true or false"),
        ("providers:\n  fal: {fal: {min_poll: never}}", 2, 25, "90s"),
        ("providers:\n  fal: !!python/name:os.system x", 2, 8, "names and values"),
        ("providers:\n  fal: {base_url: !secret x}", 2, 19, "has a tag"),
        ("providers:\n  fal: {}\n  fal: {}", 3, 3, "written twice"),
        ("providers:\n  mine: {}", 2, 9, "has no base_url"),
        ("providers:\n  mine: {base_url: 'https://x.example'}", 2, 9, "how its key is sent"),
        ("providers:\n  'a b': {}", 2, 10, "is not a provider's name"),
        ("- a list", 1, 1, "names and values"),
        ("providers: {", 1, 13, "not YAML"),
        ("providers: {}\n---\nproviders: {}", 2, 1, "not YAML"),
    ],
)
def test_mistakes_are_shown_where_they_are(
    tmp_path: Path, text: str, line: int, column: int, message: str
) -> None:
    """Each mistake has its line, its column, and what to write instead."""
    with pytest.raises(ManifestError) as caught:
        _load(tmp_path, text)
    found = [one for one in caught.value.problems if message in one.message]
    assert [(one.line, one.column) for one in found] == [(line, column)]


def test_all_mistakes_are_shown_at_once(tmp_path: Path) -> None:
    """One reading finds everything."""
    text = "providers:\n  fal: {base: x, poll: often}\n  mine: {base_url: ftp://x}\n"
    with pytest.raises(ManifestError) as caught:
        _load(tmp_path, text)
    assert len(caught.value.problems) == 4


def test_a_key_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    """Who writes the key instead of its variable's name does not find it in the error."""
    with pytest.raises(ManifestError) as caught:
        _load(tmp_path, "providers: {fal: {auth: {env: sk-very-secret-9}}}")
    assert "very-secret" not in str(caught.value)


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    """The named file, else the working folder's, else the user's; a named file has to exist."""
    cwd, config = tmp_path / "cwd", tmp_path / "config"
    cwd.mkdir()
    config.mkdir()
    assert find_providers_file(None, cwd, config) is None
    _written(config, "")
    assert find_providers_file(None, cwd, config) == config / "providers.yaml"
    _written(cwd, "")
    assert find_providers_file(None, cwd, config) == cwd / "providers.yaml"
    named = config / "providers.yaml"
    assert find_providers_file(named, cwd, config) == named
    with pytest.raises(UsageError, match="there is no file"):
        find_providers_file(tmp_path / "no.yaml", cwd, config)


def test_unreadable_files_are_explained(tmp_path: Path) -> None:
    """A file that is no text, too large or not there is a usage error, not a crash."""
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        load_providers(binary)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 1_000_001)
    with pytest.raises(UsageError, match="larger than"):
        load_providers(large)
    with pytest.raises(UsageError, match="can't be read"):
        load_providers(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    "text", ["providers: " + "[" * 50_000, "a: &a [*a]\nproviders: *a", "x: " + "{a: " * 5_000]
)
def test_bombs_are_refused(tmp_path: Path, text: str) -> None:
    """Deep nesting and self-reference are mistakes like any other."""
    with pytest.raises(ManifestError):
        _load(tmp_path, text)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    """An empty providers file is the presets."""
    assert _load(tmp_path, "# nothing yet\n") == presets()


@given(st.text(st.sampled_from("providers: {}[]\n-&*!'\"#fal,|>?x_url"), max_size=80))
def test_any_text_is_providers_or_mistakes(text: str) -> None:
    """No file crashes the reader."""
    try:
        found = _read(text, "providers.yaml", presets(), trusted=True)
    except ManifestError as error:
        found = {}
        problems = error.problems
    else:
        problems = ()
    assert problems or all(provider.name == name for name, provider in found.items())


def _written(folder: Path, text: str) -> Path:
    path = folder / "providers.yaml"
    path.write_text(text, "utf-8")
    return path
