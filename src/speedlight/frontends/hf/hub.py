"""Configurations from the Hugging Face hub: the small JSON files only, never weights."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from ..._foundation.errors import BadInput, MissingDependency
from .config import Config, read_config

_COMPANION = "hf_quant_config.json"
_PATIENCE_S = 10.0


def fetch_config(repository: str, revision: str | None = None) -> Config:
    """``config.json`` (and ``hf_quant_config.json``) of ``org/name``, from the local cache or the hub.

    Raises:
        MissingDependency: without ``huggingface_hub``.
        BadInput: where the repository, the file or the network is missing.
    """
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise MissingDependency("huggingface_hub", "hf", f"fetching {repository}") from None
    path, problem = _download(repository, "config.json", revision, cached=True)
    if path is None and reachable():
        path, problem = _download(repository, "config.json", revision, cached=False)
        if path is not None:  # beside config.json in the same snapshot folder, where the repository has one
            _download(repository, _COMPANION, revision, cached=False)
    elif path is None:
        problem = f"{_host()} cannot be reached"
    if path is None:
        raise BadInput(
            f"cannot fetch {repository} from the Hugging Face hub: {problem}",
            expected="a public repository with a config.json, and a network",
            hint="`speedlight models` lists bundled names; a local config.json works offline",
        )
    return Config(dict(read_config(path)), repository)


def _download(repository: str, name: str, revision: str | None, *, cached: bool) -> tuple[Path | None, str]:
    """(the file, why there is none)."""
    from huggingface_hub import hf_hub_download

    try:
        found = hf_hub_download(
            repository, name, revision=revision, local_files_only=cached, etag_timeout=_PATIENCE_S
        )  # fmt: skip
    except Exception as error:  # not found, gated, offline: the library's error types differ between its versions
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return Path(found), ""


def _host() -> str:
    return urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or "huggingface.co"


def reachable() -> bool:
    """Whether asking makes sense: offline, the library would retry for half a minute before it says so."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # a proxy resolves names itself
    try:
        socket.getaddrinfo(_host(), 443)
    except OSError:
        return False
    return True
