"""GGUF over HTTP: ranges only, as much as the header needs; a local server stands for the network."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from speedlight._foundation.errors import BadInput
from speedlight.frontends.gguf_file import load_gguf
from speedlight.frontends.source import load_graph

from .writing import llama, write


class Handler(BaseHTTPRequestHandler):
    """Serves ``folder`` as the hub does: redirected files, ranges, a listing."""

    folder: Path
    ranges = True
    sent: list[int]

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        if self.path.startswith("/api/models/"):
            listing = {"siblings": [{"rfilename": p.name} for p in self.folder.iterdir()]}
            self._answer(200, json.dumps(listing).encode())
        elif "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("Location", f"/files/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif not (self.folder / name).is_file():
            self._answer(404, b"")
        elif not self.ranges:
            self._answer(200, b"x" * 100)
        else:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            data, size = (self.folder / name), (self.folder / name).stat().st_size
            with data.open("rb") as stream:
                stream.seek(int(first))
                part = stream.read(min(int(last), size - 1) - int(first) + 1)
            self.sent.append(len(part))
            self._answer(206, part, {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{size}"})

    def _answer(self, status: int, body: bytes, headers: Any = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Handler]]]:
    handler = type("H", (Handler,), {"folder": tmp_path, "sent": []})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{httpd.server_address[1]}"
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield url, handler
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("tokens", [10, 100_000], ids=["small", "with a vocabulary"])
def test_only_the_header_travels(tokens: int, server: Any, tmp_path: Path) -> None:
    url, handler = server
    path = write(tmp_path / "tiny-Q4_K_M.gguf", *llama(count=8), tokens=tokens)
    here = load_gguf(str(path))
    there = load_gguf(f"{url}/{path.name}")
    assert there.attrs["file"] == here.attrs["file"]
    assert len(there.blocks) == len(here.blocks)
    header = 25 * tokens + 10_000
    assert sum(handler.sent) < header + 600_000 < path.stat().st_size


@pytest.mark.parametrize("source", ["me/repo:Q4_K_M", "me/repo/tiny-Q4_K_M.gguf"])
def test_hub_ids(source: str, server: Any, tmp_path: Path) -> None:
    write(tmp_path / "tiny-Q4_K_M.gguf", *llama())
    write(tmp_path / "tiny-Q8_0.gguf", *llama())
    graph = load_graph(source)
    assert graph.attrs["file"]["files"] == 1


def test_a_tag_that_names_no_file_lists_what_there_is(server: Any, tmp_path: Path) -> None:
    write(tmp_path / "tiny-Q8_0.gguf", *llama())
    with pytest.raises(BadInput, match="tiny-Q8_0"):
        load_gguf("me/repo:Q4_K_M")


def test_a_server_without_ranges_is_refused(server: Any, tmp_path: Path) -> None:
    url, handler = server
    handler.ranges = False
    path = write(tmp_path / "x.gguf", *llama())
    with pytest.raises(BadInput, match="whole file"):
        load_gguf(f"{url}/{path.name}")
    with pytest.raises(BadInput, match="404"):
        load_gguf(f"{url}/nosuch.gguf")


def test_offline_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="local file"):
        load_gguf("me/repo:Q4_K_M")
