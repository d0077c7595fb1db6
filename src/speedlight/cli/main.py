"""The command line: a thin door over the public API. Results on stdout, progress and messages on stderr.

Exit codes: 0 done · 1 the answer is no (does not fit, bar missed) · 2 bad input.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence

from .._foundation.collecting import seldom
from .._foundation.errors import BadInput, SpeedlightError


def run(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``speedlight``: exits with the verb's code; no input ends in a traceback."""
    sys.exit(main(arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    import click

    from .app import app

    try:
        with seldom():
            result = app(args=words, standalone_mode=False, prog_name="speedlight")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        hint = "" if "--help" in words else "`speedlight --help` lists the verbs and options"
        return _fail(BadInput(error.format_message(), hint=hint), words)
    except SpeedlightError as error:
        return _fail(error, words)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
        return 0


def _fail(error: SpeedlightError, words: list[str]) -> int:
    """One clear message and exit code 2; as CONTRACT's error object where JSON was asked for on stdout."""
    if _wants_json(words):
        print(json.dumps({"schema": 1, "error": error.to_dict()}))
    print(f"speedlight: {error.message}", file=sys.stderr)
    if error.expected:
        print(f"  expected: {error.expected}", file=sys.stderr)
    if error.hint:
        print(f"  try: {error.hint}", file=sys.stderr)
    return 2


def _wants_json(words: list[str]) -> bool:
    return any(a == "--json" and b == "-" for a, b in itertools.pairwise(words)) or "--json=-" in words
