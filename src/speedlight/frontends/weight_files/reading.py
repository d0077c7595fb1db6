"""Reading the beginning of a file that may be anywhere and may lie about its sizes: local, or by HTTP range.

A :class:`Cursor` walks forward over a :class:`Source` and never holds more than one window of it. Every size that a file
claims is checked against what is left of the file before anything is read or allocated.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Protocol

from ..._foundation.errors import BadFile, BadInput

WINDOW = 256 * 1024  # bytes fetched at a time: a request's latency is worth about that many
_PATIENCE_S = 10.0
_U64 = struct.Struct("<Q")


class Source(Protocol):
    """Bytes at offsets.

    Attributes:
        name: for messages.
        size: of the whole file, in bytes.
    """

    name: str
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """``count`` bytes, fewer only at the end of the file."""
        ...


class LocalFile:
    """A file on a disk."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        try:
            if not path.is_file():  # a pipe or a device would block
                raise BadFile(f"{path} is no regular file", expected="a model file")
            self.size = path.stat().st_size
        except OSError as error:
            raise BadFile(f"cannot read {path}: {error.strerror or error}", expected="a model file") from None

    def read(self, offset: int, count: int) -> bytes:
        try:
            with self._path.open("rb") as stream:
                stream.seek(offset)
                return stream.read(count)
        except OSError as error:
            raise BadFile(f"cannot read {self.name}: {error.strerror or error}", expected="a model file") from None


class RemoteFile:
    """A file behind ``http(s)://`` whose server answers range requests.

    Attributes:
        fetched: bytes transferred so far.
    """

    def __init__(self, url: str) -> None:
        self.name = url
        self.fetched = 0
        self._url = url
        self._first = b""
        self.size = -1
        self._first = self.read(0, WINDOW)

    def read(self, offset: int, count: int) -> bytes:
        if offset + count <= len(self._first):
            return self._first[offset : offset + count]
        if self.size >= 0:
            count = min(count, self.size - offset)
        if count <= 0:
            return b""
        from http.client import HTTPException
        from urllib.request import Request, urlopen  # 40 ms that local files need not pay

        asked = Request(self._url, headers={"Range": f"bytes={offset}-{offset + count - 1}"})
        try:
            with urlopen(asked, timeout=_PATIENCE_S) as answer:
                if answer.status != 206:
                    raise BadInput(
                        f"{self.name}: the server sends the whole file",
                        expected="a server that answers range requests",
                        hint="download the file and give its path",
                    )
                stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
                if stated is None or int(stated[1]) != offset:
                    raise BadInput(
                        f"{self.name}: the answer says no Content-Range",
                        expected="a server that answers range requests",
                    )
                self.size = int(stated[2])
                self._url = answer.geturl()  # where redirections led, once
                data: bytes = answer.read(count)
        except (OSError, HTTPException, ValueError) as error:
            raise BadInput(
                f"cannot fetch {self.name}: {error}",
                expected="a reachable file",
                hint="a downloaded file works offline",
            ) from None
        self.fetched += len(data)
        return data


class Cursor:
    """A position in a source and a window of bytes around it.

    Args:
        source: what is read.
        limit: the most bytes read in all, so that a header that never ends does.
    """

    def __init__(self, source: Source, limit: int) -> None:
        self.source = source
        self.position = 0
        self._left = limit
        self._start = 0
        self._window = b""

    @property
    def remaining(self) -> int:
        return self.source.size - self.position

    def bad(self, what: str, expected: str = "") -> BadFile:
        return BadFile(f"{self.source.name}: {what} at byte {self.position:,}", expected=expected or "a whole header")

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes.

        Raises:
            BadFile: where the file ends before that.
        """
        if count > self.remaining:
            raise self.bad(f"the file ends ({self.remaining:,} bytes left, {count:,} wanted)")
        at = self.position - self._start
        if not 0 <= at <= len(self._window) - count:
            size = max(count, WINDOW)
            self._left -= size
            if self._left < 0:
                raise self.bad("the header does not end", "a header of a usual size")
            self._start, self._window, at = self.position, self.source.read(self.position, size), 0
            if len(self._window) < count:
                raise self.bad("the file ends")
        self.position += count
        return self._window[at : at + count]

    def skip(self, count: int) -> None:
        if count > self.remaining:
            raise self.bad(f"the file ends ({self.remaining:,} bytes left, {count:,} wanted)")
        self.position += count

    def skip_texts(self, number: int) -> None:
        """Pass ``number`` texts, each a length of 8 bytes and so many bytes (a vocabulary: hence a loop without calls)."""
        length = _U64.unpack_from
        while number:
            self.take(8)
            self.position -= 8
            window, at = self._window, self.position - self._start
            last = len(window) - 8
            while number and at <= last:
                at += 8 + length(window, at)[0]
                number -= 1
            self.position = self._start + at
            if self.position > self.source.size:
                raise self.bad("a text ends behind the file")

    def number(self, form: struct.Struct) -> int | float:
        return form.unpack(self.take(form.size))[0]  # type: ignore[no-any-return]
