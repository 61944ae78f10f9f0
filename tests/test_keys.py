"""Keys: where they are found, and that they show up nowhere."""

from __future__ import annotations

import base64
import copy
import io
import logging
import os
import pickle
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import KeyMissing
from runner.keys import Keys, Redactor, Secret
from runner.providers.provider import Auth

CANARY = "id-4711:c4n4ry+/secret=value"
AUTH = Auth("Key", "FAL_KEY")


def _private(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_secret_shows_itself_only_when_asked() -> None:
    """No usual way of writing a value shows a secret."""
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{[secret]}"):
        assert CANARY not in shown
    for copied in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(secret)


def test_environment_comes_first_then_dotenv_then_key_file(tmp_path: Path) -> None:
    """The first place that has the key gives it."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("FAL_KEY=from-dotenv\n", encoding="utf-8")
    key_file = _private(tmp_path / "keys", "FAL_KEY=from-key-file\n")
    found = [
        Keys(env, path, key_file).find(AUTH).key.reveal()
        for env, path in (
            ({"FAL_KEY": "from-environment"}, dotenv),
            ({"FAL_KEY": "  "}, dotenv),
            ({}, dotenv),
            ({}, tmp_path / "absent"),
            ({}, None),
        )
    ]
    assert found == [
        "from-environment",
        "from-dotenv",
        "from-dotenv",
        "from-key-file",
        "from-key-file",
    ]


def test_key_is_looked_for_until_it_is_found(tmp_path: Path) -> None:
    """A key that is written while we run is found; one that was found is not read from disk again."""
    dotenv = tmp_path / ".env"
    keys = Keys({}, dotenv)
    with pytest.raises(KeyMissing):
        keys.find(AUTH)
    dotenv.write_text("FAL_KEY=abc-123\n", encoding="utf-8")
    assert keys.find(AUTH).key.reveal() == "abc-123"
    dotenv.unlink()
    assert keys.find(AUTH).key.reveal() == "abc-123"


@pytest.mark.parametrize(
    "written",
    [
        "abc-123",
        "abc-123\n",
        "abc-123\r\n",
        "  abc-123  ",
        "\ufeffabc-123",
        '"abc-123"',
        "'abc-123'\n",
        '" abc-123 "',
        "abc-123 # of the studio",
        '"abc-123" # of the studio',
    ],
)
def test_what_editors_leave_around_a_key_is_stripped(written: str, tmp_path: Path) -> None:
    """White space, line ends, byte order marks, quotes and comments are no part of a key."""
    assert Keys({"FAL_KEY": written}).find(AUTH).key.reveal() == "abc-123"
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"# keys\n\nexport FAL_KEY = {written}\nOTHER=1\n", encoding="utf-8")
    assert Keys({}, dotenv).find(AUTH).key.reveal() == "abc-123"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_with_a_byte_order_mark_are_read(encoding: str, tmp_path: Path) -> None:
    """What Windows editors and shells write is understood."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("FAL_KEY=abc-123\r\n", encoding=encoding)
    assert Keys({}, dotenv).find(AUTH).key.reveal() == "abc-123"


@pytest.mark.parametrize("empty", ["", "  ", '""', "''", "\n", "\ufeff", "# nothing"])
def test_missing_key_names_the_variable_and_every_place(empty: str, tmp_path: Path) -> None:
    """Whoever has no key reads which variable is wanted and where it was looked for."""
    dotenv, key_file = tmp_path / ".env", tmp_path / "keys"
    dotenv.write_text(f"FAL_KEY={empty}\n", encoding="utf-8")
    with pytest.raises(KeyMissing) as caught:
        Keys({"FAL_KEY": empty}, dotenv, key_file).find(AUTH)
    text = str(caught.value)
    for part in ("FAL_KEY", "the environment", str(dotenv), str(key_file), "no such file"):
        assert part in text
    assert caught.value.exit_code == 6


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_key_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    """A key file open to others is not used, and the message has the command that closes it."""
    key_file = _private(tmp_path / "keys", f"FAL_KEY={CANARY}\n")
    key_file.chmod(mode)
    with pytest.raises(KeyMissing, match="chmod 600") as caught:
        Keys({}, None, key_file).find(AUTH)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("value", ["Bearer abc", "abc\ndef", "abc\x00", "abc\u200b", "clé"])
def test_value_that_no_key_has_is_refused_without_showing_it(value: str) -> None:
    """A pasted word before the key, or a character no header takes, is pointed out, not sent."""
    with pytest.raises(KeyMissing, match="FAL_KEY in the environment") as caught:
        Keys({"FAL_KEY": value}).find(AUTH)
    assert value not in str(caught.value)


def test_token_scheme_needs_both_keys() -> None:
    """An access key without its secret key is a missing key."""
    auth = Auth("JWT", "KLING_ACCESS_KEY", "KLING_SECRET_KEY")
    env = {"KLING_ACCESS_KEY": "access-1", "KLING_SECRET_KEY": "secret-1"}
    found = Keys(env).find(auth)
    assert found.secret is not None
    assert (found.scheme, found.key.reveal(), found.secret.reveal()) == (
        "JWT",
        "access-1",
        "secret-1",
    )
    with pytest.raises(KeyMissing, match="KLING_SECRET_KEY"):
        Keys({"KLING_ACCESS_KEY": "access-1"}).find(auth)


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
def test_redactor_masks_every_form(before: str) -> None:
    """A key is masked as it is, URL-encoded, and in base64 wherever in a longer text it stands."""
    redactor = Redactor()
    redactor.add(Secret(CANARY))
    longer = (before + CANARY + "zz").encode()
    forms = [
        CANARY,
        quote(CANARY, safe=""),
        quote(CANARY, safe="").lower(),
        base64.b64encode(longer).decode(),
        base64.urlsafe_b64encode(longer).decode(),
        CANARY.split(":")[1],
    ]
    masked = redactor.mask(" | ".join(forms))
    assert masked.count("***") == len(forms)
    core = base64.b64encode(b"c4n4ry+/secret").decode()[4:12]
    for left in ("c4n4ry", core):
        assert left not in masked


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789:-_+/=", min_size=8, max_size=60))
def test_redactor_never_lets_a_known_secret_through(value: str) -> None:
    """Whatever the key is, a text with it in the middle comes out without it."""
    redactor = Redactor()
    redactor.add(Secret(value))
    assert value not in redactor.mask(f"<{value}>")
    encoded = base64.b64encode(value.encode()).decode()
    assert encoded not in redactor.mask(f"<{encoded}>")


def test_redactor_leaves_ordinary_texts_alone() -> None:
    """Too short a secret does not blot out a log; texts without secrets stay as they are."""
    redactor = Redactor()
    redactor.add(Secret("ab"))
    redactor.add(Secret(CANARY))
    text = "job 12 done: https://v3.fal.media/a.mp4 (is it? yes)"
    assert redactor.mask(text) == text


def test_redactor_masks_tokens_and_queries() -> None:
    """Minted tokens and signed queries are masked without being known."""
    masked = Redactor().mask(
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln got https://cdn.example/x.mp4?sign=1&e=2 back"
    )
    assert masked == "Bearer *** got https://cdn.example/x.mp4?*** back"


def test_redactor_cleans_log_records_with_tracebacks() -> None:
    """As a filter on a handler it masks messages, arguments and tracebacks of every logger."""
    keys = Keys({"FAL_KEY": CANARY})
    keys.find(AUTH)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(keys.redactor)
    logger = logging.getLogger("test.keys")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        int(f"refused {CANARY}")
    except ValueError:
        logger.exception("key %s did not work", CANARY)
        assert CANARY in traceback.format_exc()
    finally:
        logger.removeHandler(handler)
    assert CANARY not in out.getvalue()
    assert "key *** did not work" in out.getvalue()
    assert "base 10: 'refused ***'" in out.getvalue()
