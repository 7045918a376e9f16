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
