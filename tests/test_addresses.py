"""Addresses: which hosts a server may send us to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.addresses import base_refusal, is_listed, is_public, join, refusal


def _split(text: str) -> list[str]:
    return text.split()


PUBLIC = _split(
    """
    1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.167.1.1 198.17.0.1
    198.20.0.1 2606:4700:4700::1111 2a00:1450:4001:81b::200e ::ffff:8.8.8.8 64:ff9b::808:808
    2002:808:808::1
    """
)

PRIVATE = _split(
    """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.255.0.9
    168.63.129.16 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.192 192.0.2.1
    192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.7 224.0.0.1
    239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:7f00:1
    ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::a00:1 64:ff9b::7f00:1 64:ff9b:1::1 2002:a00:1::1
    2002:7f00:1::1 2002:a9fe:a9fe:: 2001::1 2001:0:4136:e378::1 2001:db8::1 3fff::1 5f00::1 100::1
    fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1
    """
)

ODD = _split(
    """
    2130706433 127.1 127.0.1 0177.0.0.1 0x7f.0.0.1 0x7f000001 017700000001 1 0 0x 134744072 8.8.8
    08.8.8.8 8.8.8.8. 127.0.0.1. 1.1.1.256 1.1.1.1.1
    """
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_visited(address: str) -> None:
    """Addresses of the public internet pass, also in their wrapped forms."""
    assert is_public(address)
    host = f"[{address}]" if ":" in address else address
    assert refusal(f"https://{host}/clip.mp4") is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_unless_listed(address: str) -> None:
    """Private, special and wrapped private addresses pass only where the user lists them."""
    assert not is_public(address)
    host = f"[{address}]" if ":" in address else address
    url = f"https://{host}/clip.mp4"
    assert refusal(url) is not None
    if "%" not in address:
        assert refusal(url, [address]) is None


@pytest.mark.parametrize("host", ODD)
def test_odd_spellings_of_numbers_are_refused(host: str) -> None:
    """Whatever some resolver might read as an IPv4 address is refused, unless it is a plain public one."""
    assert refusal(f"https://{host}/clip.mp4") is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://v3.fal.media/clip.mp4",
        "ftp://v3.fal.media/clip.mp4",
        "file:///etc/passwd",
        "data:video/mp4;base64,AAAA",
        "javascript:alert(1)",
        "//v3.fal.media/clip.mp4",
        "/clip.mp4",
        "clip.mp4",
        "",
        "https://",
        "https:///clip.mp4",
        "https://user@v3.fal.media/clip.mp4",
        "https://user:word@v3.fal.media/clip.mp4",
        "https://v3.fal.media@127.0.0.1/clip.mp4",
        "https://v3.fal.media\\@127.0.0.1/clip.mp4",
        "https://v3.fal.media/a b.mp4",
        "https://v3.fal.media/a\nb.mp4",
        "https://v3.fal.media\t.evil.example/",
        "https://\uff11\uff12\uff17.0.0.1/clip.mp4",
        "https://127\u30020\u30020\u30021/clip.mp4",
        "https://localhost/clip.mp4",
        "https://LOCALHOST./clip.mp4",
        "https://a.localhost/clip.mp4",
        "https://v3..fal.media/clip.mp4",
        "https://v3.fal.media:99999/clip.mp4",
        "https://v3.fal.media:x/clip.mp4",
        "https://[::1/clip.mp4",
        "https://[fe80::1%25eth0]/clip.mp4",
        "https://%31%32%37.0.0.1/clip.mp4",
        "https://" + "a" * 300 + ".example/clip.mp4",
    ],
)
def test_strange_urls_are_refused(url: str) -> None:
    """What isn't a plain https URL of a named host is not visited."""
    assert refusal(url) is not None


def test_ordinary_results_pass() -> None:
    """Result URLs as providers send them pass, with ports and signatures."""
    for url in (
        "https://v3.fal.media/files/zebra/abc_output.mp4",
        "https://V3.FAL.MEDIA/x.mp4",
        "https://cdn.klingai.com:8443/bs2/upload/x.mp4?x-kcdn-pid=112452&sign=a%2Fb",
        "https://xn--bcher-kva.example/x.mp4",
    ):
        assert refusal(url) is None


def test_listed_host_may_be_private_and_plain() -> None:
    """The user's own media hosts pass, in whatever spelling, and no others."""
    assert refusal("http://127.0.0.1:8123/x.mp4", ["127.0.0.1"]) is None
    assert refusal("http://[::1]:8123/x.mp4", ["[::1]"]) is None
    assert refusal("http://[0:0:0:0:0:0:0:1]/x.mp4", ["::1"]) is None
    assert refusal("http://NAS.lan./x.mp4", ["nas.lan"]) is None
    assert refusal("http://nas.lan.evil.example/x.mp4", ["nas.lan"]) is not None
    assert refusal("http://127.0.0.2/x.mp4", ["127.0.0.1"]) is not None
    assert not is_listed("evil-nas.lan", ["nas.lan"])


def test_refusals_hide_the_query() -> None:
    """The reason never repeats the part of a URL that may hold a signature."""
    for url in ("http://v3.fal.media/x?sign=CANARY", "https://10.0.0.1/x?sign=CANARY"):
        assert "CANARY" not in (refusal(url) or "CANARY")


@given(st.text(max_size=60))
def test_any_text_gets_an_answer(text: str) -> None:
    """No text, however odd, makes the check fail."""
    refusal(text)
    refusal("https://" + text)
    is_public(text)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["::ffff:{}", "64:ff9b::{}", "{}"]))
def test_wrapping_changes_nothing(number: int, form: str) -> None:
    """An IPv4 address is as public as what it is wrapped in."""
    plain = ".".join(str(byte) for byte in number.to_bytes(4, "big"))
    assert is_public(form.format(plain)) == is_public(plain)


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("https://api.example", "/v1/videos", "https://api.example/v1/videos"),
        ("https://api.example/", "/v1/videos", "https://api.example/v1/videos"),
        ("https://api.example/kling/", "/v1/x", "https://api.example/kling/v1/x"),
        ("https://api.example:8443/a", "/b%2Fc", "https://api.example:8443/a/b%2Fc"),
        ("https://api.example", "/r/é x", "https://api.example/r/%C3%A9%20x"),
        ("https://api.example", "/r/50%", "https://api.example/r/50%25"),
        ("https://api.example", "/r?x=1#y", "https://api.example/r%3Fx=1%23y"),
        ("https://api.example", "/@evil.example/", "https://api.example/@evil.example/"),
        (
            "https://api.example",
            "/https://evil.example",
            "https://api.example/https://evil.example",
        ),
    ],
)
def test_join_stays_on_the_base(base: str, path: str, expected: str) -> None:
    """A path is put behind the base as it is written, and what could mean something else is encoded."""
    assert str(join(base, path)) == expected


def test_join_takes_a_query() -> None:
    """A query is added as encoded by the caller."""
    assert str(join("https://api.example", "/r", "a=1%2F2")) == "https://api.example/r?a=1%2F2"


@pytest.mark.parametrize(
    "path",
    ["", "r", "//evil.example/r", "/../r", "/a/../../r", "/%2e%2e/r", "/a/.%2E", "/a/./b", "/a\\b"],
)
def test_join_refuses_paths_that_lead_away(path: str) -> None:
    """A path that isn't one, or goes upwards, is refused."""
    with pytest.raises(ValueError, match="path"):
        join("https://api.example/base", path)


@given(st.text(max_size=40))
def test_join_never_leaves_the_origin(path: str) -> None:
    """Whatever the path, the URL has the scheme, host and port of the base."""
    try:
        url = join("https://api.example:8443/base", "/" + path)
    except ValueError:
        return
    assert (url.scheme, url.raw_host, url.port) == ("https", "api.example", 8443)
    assert url.raw_path.startswith("/base/")


@pytest.mark.parametrize(
    ("base", "private", "fine"),
    [
        ("https://queue.fal.run", False, True),
        ("http://queue.fal.run", False, False),
        ("http://queue.fal.run", True, True),
        ("http://127.0.0.1:8123", True, True),
        ("https://127.0.0.1:8123", False, False),
        ("https://[::1]:8123/base", True, True),
        ("ftp://queue.fal.run", True, False),
        ("https://user@queue.fal.run", True, False),
        ("https://queue.fal.run?x=1", True, False),
        ("https://queue.fal.run/#x", False, False),
        ("queue.fal.run", True, False),
        ("", True, False),
    ],
)
def test_base_urls(base: str, private: bool, fine: bool) -> None:
    """A key goes over https to a public host, or to where the user wrote that it should go."""
    assert (base_refusal(base, private=private) is None) is fine
