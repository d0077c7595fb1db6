"""Chrome trace-event JSON as Kineto (torch.profiler), JAX and others write it: ``.json`` or ``.json.gz``, of any size.

Format: "Trace Event Format" (Chromium project). The file is read in chunks and each event decoded by itself, so that a trace of
2 GB needs the memory of its columns. Nothing is trusted: one value has at most :data:`MAX_VALUE` characters, nesting is the
decoder's own limit, and a compressed file may not unfold without end.
"""

from __future__ import annotations

import codecs
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..._foundation.errors import BadFile
from .trace import MAX_EVENTS, Columns, Trace

CHUNK = 4 * 2**20
MAX_VALUE = 32 * 2**20  # characters of one event or header value
MAX_BYTES = 16 * 2**30  # of text, unfolded
MAX_RATIO = 200  # of unfolded to compressed bytes, past the first 256 MiB: traces fold some twenty times
_SPACE = re.compile(r"[ \t\r\n]*")
WANTED = "a trace of torch.profiler (or another Chrome trace-event JSON)"

# Kineto's categories; what other writers leave out is told from the track.
_KINDS = {
    "cpu_op": "op", "operator": "op", "user_annotation": "annotation", "cuda_runtime": "runtime", "cuda_driver": "runtime",
    "hip_runtime": "runtime", "xpu_runtime": "runtime", "python_function": "python", "kernel": "kernel",
    "gpu_memcpy": "memcpy", "gpu_memset": "memset", "concurrent_kernel": "kernel", "overhead": "other", "trace": "other",
    "gpu_user_annotation": "other", "ac2g": "other", "fwdbwd": "other",
}  # fmt: skip


def read_chrome(path: Path) -> Trace:
    """The trace of a file.

    Raises:
        BadFile: for what is no such trace, cut off, malformed, nested too deeply, or larger than this reads.
    """
    columns, header = Columns(), {}
    begun: dict[tuple[str, str], list[dict[str, Any]]] = {}
    try:
        with _opened(path) as stream:
            for key, value in _values(_Text(stream, path), path):
                if key == "event":
                    _take(columns, value, begun, path)
                else:
                    header[key] = value
    except RecursionError:
        raise BadFile(f"{path} is nested too deeply", expected=WANTED) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadFile(f"{path} cannot be unfolded: {error}", expected=WANTED) from None
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}", expected=WANTED) from None
    if not len(columns):
        raise BadFile(f"{path} holds no event with a duration", expected=WANTED)
    group = header.get("distributedInfo")
    group = group if isinstance(group, dict) else {}
    return columns.trace(1e-6, _whole(group.get("rank")), _whole(group.get("world_size")), path.name)


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as plain:
        folded = plain.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if folded else path.open("rb")  # type: ignore[return-value]


class _Text:
    """A window on the file's text that grows at its end and is cut at its start."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._folded = path.stat().st_size
        self._seen = 0
        self.text, self.at, self.ended = "", 0, False

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        if self.ended:
            return False
        raw = self._stream.read(CHUNK)
        self._seen += len(raw)
        if self._seen > MAX_BYTES or self._seen > max(2**28, MAX_RATIO * self._folded):
            raise BadFile(f"{self._path} unfolds to more than {self._seen} bytes", expected="a trace, not a bomb")
        self.ended = not raw
        self.text = self.text[self.at :] + self._decode(raw, self.ended)
        self.at = 0
        return not self.ended

    def peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self) -> Any:
        """Decode the value that starts here."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if len(self.text) - self.at > MAX_VALUE:
                    raise BadFile(
                        f"{self._path} holds a value of more than {MAX_VALUE} characters", expected=WANTED
                    ) from None
                if not self.more():
                    raise BadFile(f"{self._path} is cut off or malformed: {error.msg}", expected=WANTED) from None
                continue
            except ValueError as error:  # integers of more than 4300 digits
                raise BadFile(f"{self._path} is malformed: {error}", expected=WANTED) from None
            if end == len(self.text) and self.more():
                continue  # a number may go on in the next chunk
            self.at = end
            return value


_DECODER = json.JSONDecoder()


def _values(text: _Text, path: Path) -> Iterator[tuple[str, Any]]:
    """("event", event) of each event, and the header's own pairs."""
    first = text.peek()
    if first == "[":
        yield from _events(text, path)
        return
    if first != "{":
        raise BadFile(f"{path} starts with {first!r}", expected=WANTED)
    text.at += 1
    found = False
    while (mark := text.peek()) != "}":
        if mark == ",":
            text.at += 1
            text.peek()
        key = text.value()
        if not isinstance(key, str) or text.peek() != ":":
            raise BadFile(f"{path} is malformed: a key and a colon are missing", expected=WANTED)
        text.at += 1
        if key == "traceEvents":
            if text.peek() != "[":
                raise BadFile(f"{path}: traceEvents is no list", expected=WANTED)
            found = True
            yield from _events(text, path)
        else:
            yield key, text.value()
    if not found:
        raise BadFile(f"{path} is JSON without traceEvents", expected=WANTED)


def _events(text: _Text, path: Path) -> Iterator[tuple[str, Any]]:
    text.at += 1
    while (mark := text.peek()) != "]":
        if mark == ",":
            text.at += 1
            if text.peek() == "]":  # some writers leave a comma behind the last
                break
        elif not mark:
            raise BadFile(f"{path} is cut off within its events", expected=WANTED, hint="record it again")
        yield "event", text.value()
    text.at += 1


def _take(columns: Columns, event: Any, begun: dict[tuple[str, str], list[dict[str, Any]]], path: Path) -> None:
    if not isinstance(event, dict):
        raise BadFile(f"{path}: an event is a {type(event).__name__}", expected="objects")
    phase = event.get("ph")
    if phase not in ("X", "B", "E", "M"):
        return  # flows, counters, instants
    where = str(event.get("pid", "")), str(event.get("tid", ""))
    args = event.get("args")
    args = args if isinstance(args, dict) else {}
    if phase == "M":
        if event.get("name") == "thread_name":
            columns.label(*where, str(args.get("name", ""))[:200])
        return
    if phase == "B":
        begun.setdefault(where, []).append(event)
        return
    if phase == "E":
        if not begun.get(where):
            return  # what began before the recording did
        end = _number(event, "ts", path)
        event = begun[where].pop()
        start = _number(event, "ts", path)
        length = end - start
    else:
        start, length = _number(event, "ts", path), _number(event, "dur", path)
    if length < 0:
        raise BadFile(f"{path}: {str(event.get('name'))[:80]!r} lasts {length:g} µs", expected="durations ≥ 0")
    if len(columns) >= MAX_EVENTS:
        raise BadFile(f"{path} holds more than {MAX_EVENTS} events", hint="record fewer steps")
    args = event.get("args") if isinstance(event.get("args"), dict) else {}
    name = str(event.get("name", ""))[:500]
    columns.add(
        _KINDS.get(str(event.get("cat", "")).lower(), "other"), name, *where, start, start + length,
        link=_link(args, "correlation" if "correlation" in args else "Sequence number"), outer=_link(args, "External id"), shape=_shape(args), moved=_bytes(args),
    )  # fmt: skip


def _number(event: dict[str, Any], key: str, path: Path) -> float:
    value = event.get(key, 0.0 if key == "dur" else None)
    if isinstance(value, str):  # some writers quote times
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e18 or not math.isfinite(value):
        raise BadFile(
            f"{path}: {key} of {str(event.get('name'))[:80]!r} is {str(event.get(key))[:40]!r}", expected="microseconds"
        )
    return float(value)


def _link(args: dict[str, Any], key: str) -> int:
    value = args.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 else -1


def _shape(args: dict[str, Any]) -> str:
    dims = args.get("Input Dims")
    if not isinstance(dims, list):
        return ""
    text = json.dumps([dims, args.get("Input type"), args.get("Concrete Inputs")])
    return text if len(text) <= 4000 else ""


def _bytes(args: dict[str, Any]) -> float:
    value = args.get("bytes")
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e18
    return float(value) if good else math.nan  # type: ignore[arg-type]


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**7 else None
