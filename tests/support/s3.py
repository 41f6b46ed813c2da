"""A stand-in of S3 on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


def s3_server() -> Iterator[str]:
    """Yield its address; it ends when the next value is asked for."""
    server = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    fsspec = pytest.importorskip("fsspec", reason="the extra `cluster` is not installed")
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # clients of this one are no use to the next


def allow(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let clients of S3 ask the stand-in."""
    pytest.importorskip("s3fs", reason="the extra `cluster` is not installed")
    told = {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}
    for name, value in told.items():
        monkeypatch.setenv(f"AWS_{name}", value)
