"""Settings are refused when they are unsafe or contradict each other."""

from pathlib import Path
from typing import Any

import pytest

from rollcast.server.config import ServerConfig, is_loopback
from rollcast.server.secret import Secret


def test_the_defaults_are_for_this_machine_only() -> None:
    config = ServerConfig()
    assert config.host == "127.0.0.1"
    assert not config.tls and config.token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_a_bind_to_the_network_needs_a_token(host: str) -> None:
    with pytest.raises(ValueError, match="needs a token"):
        ServerConfig(host=host)
    assert ServerConfig(host=host, token=Secret("secret")).host == host


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": ()}, "models"),
        ({"port": 70_000}, "port"),
        ({"max_sessions": 0}, "max_sessions"),
        ({"max_kbps": 1}, "max_kbps"),
        ({"max_lead_chunks": 1.0}, "max_lead_chunks"),
        ({"grace_s": -1}, "grace_s"),
        ({"tls_cert": Path("a")}, "certificate needs its key"),
        (
            {"tls_cert": Path("a"), "tls_key": Path("b"), "self_signed": True},
            "not both",
        ),
        ({"token": Secret("")}, "token is empty"),
        ({"max_per_client": 0}, "max_per_client"),
        ({"max_duration_s": 0.0}, "max_duration_s"),
        ({"unwatched_s": -1.0}, "unwatched_s"),
        ({"park_memory_mb": -1}, "park_memory_mb"),
        ({"park_after_s": -1.0}, "park_after_s"),
        ({"park_dir": Path("a"), "park_memory_mb": 0}, "park_dir needs park_disk_mb"),
        ({"park_dir": Path("a"), "park_disk_mb": 0}, "park_dir needs park_disk_mb"),
        ({"trusted_proxies": ("10.0.0.1", "proxy.lan")}, "'proxy.lan'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServerConfig(**settings)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("localhost.evil.example", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("Studio.Example", "studio.example"),
        (" studio.example\n", "studio.example"),
        ("https://studio.example/", "studio.example"),
        ("studio.example:8443", "studio.example"),
        ("studio.example.", "studio.example"),
        ("[::1]:8000", "::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("192.168.1.5", "192.168.1.5"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_an_allowed_host_is_compared_as_it_is_sent(written: str, compared: str) -> None:
    assert ServerConfig(allowed_hosts=(written,)).allowed_hosts == (compared,)


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("https://Studio.Example", "https://studio.example"),
        ("HTTPS://studio.example/", "https://studio.example"),
        ("https://studio.example:443", "https://studio.example"),
        ("http://studio.example:80/", "http://studio.example"),
        ("http://studio.example:443", "http://studio.example:443"),
        (" http://localhost:3000 ", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_allowed_origin_is_compared_as_it_is_sent(written: str, compared: str) -> None:
    assert ServerConfig(allowed_origins=(written,)).allowed_origins == (compared,)


@pytest.mark.parametrize("host", ["", "*", "*.example", "a/b", "a b", "http://", "a:port", "a@b/"])
def test_a_host_that_can_match_nothing_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        ServerConfig(allowed_hosts=(host,))


@pytest.mark.parametrize(
    "origin",
    ["", "*", "null", "studio.example", "https://*.example", "https://a.example/page", "https://",
     "ftp://a.example", "ws://a.example", "https://a.example:port", "https://u@a.example",
     "//a.example"],
)  # fmt: skip
def test_an_origin_that_can_match_nothing_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        ServerConfig(allowed_origins=(origin,))


def test_a_token_is_taken_without_the_white_space_around_it() -> None:
    assert ServerConfig(token=Secret(" s3cret+/=\r\n")).token == Secret("s3cret+/=")
    assert ServerConfig(token=Secret("x" * 256)).token == Secret("x" * 256)


@pytest.mark.parametrize(
    ("token", "why"),
    [("", "empty"), (" \n", "empty"), ("x" * 257, "257"), ("sécret", "every place"),
     ("秘密", "every place"), ("a\tb", "every place")],
)  # fmt: skip
def test_a_token_that_could_not_be_sent_is_refused(token: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ServerConfig(token=Secret(token))
