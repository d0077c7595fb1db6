"""Hostile model files: each is refused by one message, exit code 2, within 5 s of CPU time and 1 GiB of address space.

A format's tests list :class:`Case` s and call :func:`refused`; all cases of a list run in one process whose memory is
limited, so that a new format costs one start of Python.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 5.0
BYTES = 2**30
MACHINE = "h100-sxm-80gb"


@dataclass(frozen=True)
class Case:
    """One hostile file.

    Attributes:
        name: also the file's, without its ending.
        build: writes it.
        says: words of the message, in lower case.
    """

    name: str
    build: Callable[[Path], object]
    says: str = ""


# Run in the limited process: explains each file and reports (exit code, stdout, stderr, CPU seconds).
_RUNNER = """
import contextlib, io, json, sys, time
from speedlight.cli.main import main
for path in sys.argv[2:]:
    out, err, start = io.StringIO(), io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["explain", path, "--on", sys.argv[1], "--json", "-"])
    print(json.dumps([code, out.getvalue(), err.getvalue(), time.process_time() - start]), flush=True)
"""


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def refused(cases: Sequence[Case], folder: Path, ending: str) -> None:
    """Assert that every case is refused as it should be."""
    paths = []
    for case in cases:
        place = folder / case.name.replace(" ", "-")
        place.mkdir()
        path = place / f"x{ending}"
        case.build(path)
        paths.append(str(path))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", _RUNNER, MACHINE, *paths], capture_output=True, text=True, preexec_fn=_limit,
        env=environment, timeout=300, check=False,
    )  # fmt: skip
    lines = ran.stdout.splitlines()
    assert len(lines) == len(cases), (cases[len(lines)].name, ran.stderr[-2000:])
    problems = [p for case, line in zip(cases, lines, strict=True) if (p := _problem(case, *json.loads(line)))]
    assert not problems, "\n".join(problems)


def _problem(case: Case, code: int, out: str, err: str, seconds: float) -> str:
    """What is wrong with how a case was refused, or nothing."""
    if code != 2 or "Traceback" in out + err:
        return f"{case.name}: exit {code}: {(out + err)[-800:]}"
    error = json.loads(out)["error"]
    told = " ".join(error.values()).lower()
    if error["type"] not in ("BadFile", "BadInput", "Unsupported") or case.says.lower() not in told or len(told) > 1200:
        return f"{case.name}: {told[:400]}"
    return f"{case.name}: {seconds:.1f} s" if seconds > SECONDS else ""
