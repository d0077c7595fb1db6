"""Reading untrusted text with limits, writing files atomically."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .errors import BadFile

MAX_TEXT_BYTES = 64 * 2**20
MAX_DEPTH = 32  # levels of nesting in YAML; no format of ours needs ten


def read_text(path: str | Path, what: str, limit: int = MAX_TEXT_BYTES) -> str:
    """A text file's content.

    Raises:
        BadFile: if it is missing, a folder, larger than ``limit`` bytes or not UTF-8.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise BadFile(f"{path} is a folder", expected=f"a {what} file")
        size = path.stat().st_size
        if size > limit:
            raise BadFile(f"{path} has {size} bytes", expected=f"a {what} of at most {limit} bytes")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadFile(f"{path} does not exist", expected=f"a {what} file") from None
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8 text ({error.reason})", expected=f"a {what} file") from None
    except (OSError, ValueError) as error:
        raise BadFile(f"cannot read {path!s}: {error}", expected=f"a {what} file") from None


def parse_json(text: str, what: str) -> Any:
    """JSON from untrusted text; deep nesting and malformed text become one message."""
    try:
        return json.loads(text)
    except RecursionError:
        raise BadFile(f"{what} is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BadFile(
            f"{what} is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}",
            expected="a JSON document",
        ) from None
    except ValueError as error:  # integers of more than 4300 digits
        raise BadFile(f"{what} is not usable JSON: {error}", expected="a JSON document") from None


def parse_json_bytes(data: bytes, what: str) -> Any:
    """JSON from untrusted bytes of any size, in a third of the memory that text takes.

    Raises:
        BadFile: for what is no UTF-8, malformed or deeply nested.
    """
    import msgspec

    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise BadFile(f"{what} is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(f"{what} is not valid JSON: {error}", expected="a JSON document in UTF-8") from None


def parse_yaml(text: str, what: str, *, trusted: bool = False) -> Any:
    """YAML as plain data; nothing is constructed.

    Args:
        text: the document.
        what: its name in messages.
        trusted: a file we ship: skips the checks for anchors that blow up and for depth, which cost a second pass.

    Raises:
        BadFile: for malformed, exploding or deeply nested documents, with the line.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if not trusted:
            _refuse_deep(text, what, loader)
        return yaml.load(text, Loader=loader)  # a safe loader: plain data, nothing constructed
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "nesting depth" in problem:  # PyYAML's own bound, since 6.0.4
            raise BadFile(f"{what} is nested too deeply{where}", expected="a flatter document") from None
        raise BadFile(f"{what} is not valid YAML: {problem}{where}", expected="a YAML document") from None
    except (RecursionError, ValueError) as error:
        raise BadFile(f"{what} is not usable YAML: {type(error).__name__}: {error}") from None


def _refuse_deep(text: str, what: str, loader: Any) -> None:
    """libyaml's composer recurses in C and would end the process: count levels on the event stream first.

    Anchors and their uses are counted there too: in the text a star may be a product.
    """
    import yaml

    depth = anchors = uses = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if isinstance(event, yaml.AliasEvent):
            uses += 1
        elif getattr(event, "anchor", None):
            anchors += 1
        if uses > 200 and anchors > 5:
            raise BadFile(f"{what} uses too many YAML anchors", expected="plain YAML")
        if depth > MAX_DEPTH:
            raise BadFile(f"{what} is nested deeper than {MAX_DEPTH} levels", expected="a flatter document")


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write beside the target and rename: a reader sees the old file or the new one, never a part.

    Raises:
        BadFile: if the folder does not exist or cannot be written.
    """
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent or ".", prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content.encode("utf-8") if isinstance(content, str) else content)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes private files; results are ordinary ones
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadFile(
            f"cannot write {path}: {error.strerror or error}", hint="check the folder and its rights"
        ) from None
