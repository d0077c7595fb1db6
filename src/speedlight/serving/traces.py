"""Request traces people have → :class:`Requests`: what is repairable is repaired and said, the rest refused.

Read: Parquet and CSV with columns by the names of published traces (Splitwise/Vidur, Azure's LLM inference traces, BurstGPT),
Mooncake's JSON lines (times in ms, hash ids of 512-token blocks), and the JSON that ``vllm bench serve --save-detailed`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._foundation.errors import BadFile
from .._foundation.files import parse_json_bytes
from ..evidence.tables import read_table
from .requests import MOST_TOKENS, Requests

MOST_BYTES = 1 << 30
MOONCAKE_TOKENS = 512  # of a hash id (github.com/kvcache-ai/Mooncake, the trace's README)
NAMES = {
    "arrival": ("arrived_at", "arrival_time", "arrival", "timestamp", "time", "start_time"),
    "prompt": ("num_prefill_tokens", "contexttokens", "context_tokens", "input_length", "input_tokens", "prompt_tokens",
               "prompt_len", "request tokens", "isl"),
    "output": ("num_decode_tokens", "generatedtokens", "generated_tokens", "output_length", "output_tokens",
               "response tokens", "completion_tokens", "osl"),
}  # fmt: skip


def read_trace(path: str | Path) -> Requests:
    """A trace file by its ending: .parquet, .csv, .csv.gz, .jsonl, .json.

    Returns:
        requests in order of arrival from 0 on; where the file has no times they all are 0 (``rate`` is infinite: give
        them times with :meth:`.requests.Requests.at_rate`'s relatives or run a closed loop). ``notes`` says what was repaired.

    Raises:
        BadFile: files that are missing, too large, of another format, without lengths, or broken in most rows.
    """
    path = Path(path)
    if not path.is_file():
        raise BadFile(
            f"{path} does not exist" if not path.exists() else f"{path} is no file", expected="a request trace"
        )
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise BadFile(
            f"{path} has {size:,} bytes", expected=f"a trace of at most {MOST_BYTES:,}",
            hint="cut it, or keep arrival, prompt and output tokens only, as Parquet",
        )  # fmt: skip
    name = path.name.lower()
    if name.endswith((".jsonl", ".json")):
        columns, chains = _json(path, lines=name.endswith(".jsonl"))
    elif name.endswith((".parquet", ".csv", ".csv.gz")):
        columns, chains = dict(read_table(path).columns), None
    else:
        raise BadFile(f"{path} is of an unknown format", expected=".parquet, .csv, .csv.gz, .jsonl or .json")
    found = {role: _column(columns, names) for role, names in NAMES.items()}
    for role in ("prompt", "output"):
        if found[role] is None:
            raise BadFile(
                f"{path} has no column of {role} tokens; its columns are {', '.join(map(str, columns))[:200]}",
                expected="one of " + ", ".join(NAMES[role]),
            )
    prompt, output = (_numbers(found[role], path, role) for role in ("prompt", "output"))
    if len(prompt) == 0:
        raise BadFile(f"{path} has no rows", expected="at least one request")
    arrival = None if found["arrival"] is None else _times(found["arrival"], path)
    return _clean(path, arrival, prompt, output, chains)


def _column(columns: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    lower = {str(name).strip().lower(): values for name, values in columns.items()}
    return next((lower[name] for name in names if name in lower), None)


def _numbers(values: Any, path: Path, role: str) -> np.ndarray:
    try:
        return np.asarray([np.nan if v is None else float(v) for v in values], float)
    except (TypeError, ValueError):
        raise BadFile(f"{path}: {role} tokens that are no numbers", expected="whole numbers") from None


def _times(values: Any, path: Path) -> np.ndarray:
    """Seconds; texts are dates."""
    given = np.asarray(values)
    if given.dtype.kind in "iuf":
        return given.astype(float)
    try:
        texts = [
            "NaT" if v is None else str(v).strip().removesuffix("Z").split("+")[0].replace(" ", "T") for v in given
        ]
        when = np.asarray(texts, "datetime64[ns]")
        seconds = (when - np.nanmin(when)) / np.timedelta64(1, "ns") * 1e-9
        return np.where(np.isnat(when), np.nan, seconds)
    except (TypeError, ValueError):
        return _numbers(values, path, "arrival")


def _json(path: Path, lines: bool) -> tuple[dict[str, Any], list[Any] | None]:
    data = path.read_bytes()
    if not lines:
        loaded = parse_json_bytes(data, str(path))
        if isinstance(loaded, dict):
            return _bench(loaded, path), None
        rows = loaded
    else:
        rows = [
            parse_json_bytes(line, f"{path}, line {i + 1}") for i, line in enumerate(data.splitlines()) if line.strip()
        ]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadFile(f"{path} holds no list of requests", expected="objects with input_length and output_length")
    columns: dict[str, Any] = {key: [row.get(key) for row in rows] for key in {k: 0 for row in rows for k in row}}
    chains = columns.pop("hash_ids", None)
    if chains is not None and "timestamp" in columns:  # Mooncake counts milliseconds
        columns["timestamp"] = _numbers(columns["timestamp"], path, "arrival") / 1000
    elif "timestamp" in columns and all(isinstance(v, (int, float)) for v in columns["timestamp"]):
        columns["timestamp"] = np.asarray(columns["timestamp"], float)
    return columns, chains


def _bench(result: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The lists of ``vllm bench serve --save-result --save-detailed``."""
    if "input_lens" not in result or "output_lens" not in result:
        raise BadFile(
            f"{path} has no input_lens and output_lens", expected="a result of vllm bench serve",
            hint="write it with --save-result --save-detailed",
        )  # fmt: skip
    columns = {"prompt_tokens": result["input_lens"], "output_tokens": result["output_lens"]}
    if result.get("start_times"):
        start = np.asarray(result["start_times"], float)
        columns["arrival"] = start - np.nanmin(start)
    return columns


def _clean(
    path: Path, arrival: np.ndarray | None, prompt: np.ndarray, output: np.ndarray, chains: list[Any] | None
) -> Requests:
    notes = []
    if arrival is None:
        notes.append("no arrival times: all requests at 0")
        arrival = np.zeros(len(prompt))
    if not len(arrival) == len(prompt) == len(output):
        raise BadFile(f"{path}: columns of different lengths", expected="one value a request in each")
    huge = np.flatnonzero((prompt > MOST_TOKENS) | (output > MOST_TOKENS))
    if len(huge):
        row = int(huge[0])
        raise BadFile(
            f"{path}: request {row} has {max(prompt[row], output[row]):.3g} tokens", expected=f"at most {MOST_TOKENS:,}"
        )
    good = np.isfinite(arrival) & (prompt >= 1) & (output >= 1)  # NaN compares false
    dropped = int((~good).sum())
    if dropped * 2 > len(good):
        raise BadFile(
            f"{path}: {dropped} of {len(good)} rows lack a time or tokens",
            expected="a trace most of whose rows are whole",
        )
    if dropped:
        notes.append(f"{dropped} of {len(good)} rows left out: no time, or no tokens")
    if np.any(np.diff(arrival[good]) < 0):
        notes.append("rows were not in order of arrival: sorted")
    rows = np.flatnonzero(good)[np.argsort(arrival[good], kind="stable")]
    times = arrival[rows]
    if times[0] < 0:
        notes.append(f"times began at {times[0]:g} s: shifted to 0")
    times = times - times[0]
    fields: dict[str, Any] = {}
    if chains is not None:
        each = [chains[i] if isinstance(chains[i], list) else [] for i in rows]
        flat = np.asarray([link for chain in each for link in chain], dtype=np.int64)
        fields["chain_at"] = np.concatenate([[0], np.cumsum([len(chain) for chain in each])]).astype(np.int64)
        fields["chain"] = np.unique(flat, return_inverse=True)[1].astype(np.int64)
        fields["link_tokens"] = MOONCAKE_TOKENS
        notes.append(f"prompts share what their hash ids share, {MOONCAKE_TOKENS} tokens each")
    return Requests(times, prompt[rows].astype(np.int64), output[rows].astype(np.int64), notes=tuple(notes), **fields)
