"""Where a GGUF source is: a path, a URL, or a file of a hub repository by name or by quantisation."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from ..._foundation.errors import BadFile, BadInput
from ..weight_files.reading import LocalFile, RemoteFile, Source

_HUB_FILE = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[\w./-]+\.gguf)$")
_HUB_TAG = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+):(?P<tag>[\w.-]+)$")
_MOST_LISTING = 16 * 2**20
_PATIENCE_S = 10.0


def open_source(source: str) -> Source:
    """The bytes of a source.

    Raises:
        BadInput, BadFile: where it leads nowhere, or no network is there.
    """
    if source.startswith(("http://", "https://")) or Path(source).exists():
        return open_path(source)
    tagged, named = _HUB_TAG.match(source), _HUB_FILE.match(source)
    if tagged:
        return _hub(tagged["repo"], _file_of(tagged["repo"], tagged["tag"]))
    if named and ".." not in named["file"].split("/"):
        return _hub(named["repo"], named["file"])
    raise BadFile(f"{source} does not exist", expected="a GGUF file, its URL, or org/repo/file.gguf on the hub")


def open_path(place: str) -> Source:
    """A URL or a path."""
    return RemoteFile(place) if place.startswith(("http://", "https://")) else LocalFile(Path(place))


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _online(repository: str) -> None:
    from ..hf.hub import reachable

    if not reachable():
        raise BadInput(
            f"cannot fetch {repository}: the hub cannot be reached",
            expected="a network",
            hint="a local file works offline",
        )


def _hub(repository: str, file: str) -> Source:
    from urllib.parse import quote

    _online(repository)
    return RemoteFile(f"{_endpoint()}/{repository}/resolve/main/{quote(file)}")


def _file_of(repository: str, tag: str) -> str:
    """The file of a repository that is quantised so: ``Q4_K_M`` → ``model-Q4_K_M.gguf``, of a split one the first part.

    Raises:
        BadInput: listing the quantisations there are, where it is none of them.
    """
    from urllib.request import urlopen  # 40 ms that local files need not pay

    _online(repository)
    try:
        with urlopen(f"{_endpoint()}/api/models/{repository}", timeout=_PATIENCE_S) as answer:
            found = json.loads(answer.read(_MOST_LISTING))
        names = sorted(str(s["rfilename"]) for s in found["siblings"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"cannot list {repository}: {error}", expected="a public repository on the hub") from None
    files = [n for n in names if n.lower().endswith(".gguf") and "mmproj" not in n.lower()]
    wanted = re.compile(rf"(?:^|[-_./]){re.escape(tag.lower())}(?:-00001-of-\d{{5}})?\.gguf$")
    fitting = [n for n in files if wanted.search(n.lower())]
    if len(fitting) != 1:
        raise BadInput(
            f"{repository} has {len(fitting)} GGUF files of {tag}",
            expected="a quantisation that names one file",
            hint="it has " + ", ".join((fitting or files)[:12]) if files else "it has no GGUF files",
        )
    return fitting[0]
