"""Small traces written by hand, in the forms profilers write them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any


def event(name: str, cat: str, start: float, length: float, tid: int = 1, **args: Any) -> dict[str, Any]:
    """A complete event; microseconds."""
    return {"ph": "X", "name": name, "cat": cat, "pid": 1, "tid": tid, "ts": 1e12 + start, "dur": length, "args": args}


def write(path: Path, events: list[dict[str, Any]], **header: Any) -> Path:
    path.write_text(json.dumps({"schemaVersion": 1, **header, "traceEvents": events}))
    return path


def gpu_step() -> list[dict[str, Any]]:
    """1000 µs: loading 300, a GEMM 0.2 ms, an all-reduce half hidden by it, a copy, a wait, gaps."""
    shape = {"Input Dims": [[512, 1024], [1024, 512]], "Input type": ["float", "float"], "Concrete Inputs": ["", ""]}
    return [
        event("ProfilerStep#1", "user_annotation", 0, 1000),
        event("enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", "user_annotation", 0, 300),
        event("aten::mm", "cpu_op", 310, 20, **{"External id": 7, **shape}),
        event("cudaLaunchKernel", "cuda_runtime", 315, 5, correlation=70, **{"External id": 7}),
        event("ampere_sgemm_128x64_nn", "kernel", 400, 200, tid=20, correlation=70, **{"External id": 7}),
        event("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "kernel", 500, 200, tid=21),
        event("Memcpy DtoH (Device -> Pageable)", "gpu_memcpy", 720, 30, tid=20, bytes=4096),
        event("cudaStreamSynchronize", "cuda_runtime", 640, 130),
        event("void at::native::vectorized_elementwise_kernel<4>", "kernel", 900, 100, tid=20),
    ]


def nsys(path: Path) -> Path:
    """An export with one kernel of 2 ms, one copy, and the calls that launched them."""
    base = sqlite3.connect(path)
    base.executescript(
        """
        CREATE TABLE StringIds (id INTEGER, value TEXT);
        CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER, streamId INTEGER,
            correlationId INTEGER, shortName INTEGER);
        CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER, end INTEGER, deviceId INTEGER, streamId INTEGER,
            correlationId INTEGER, bytes INTEGER, copyKind INTEGER);
        CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER, globalTid INTEGER, correlationId INTEGER,
            nameId INTEGER);
        INSERT INTO StringIds VALUES (1, 'sm80_xmma_gemm_f16'), (2, 'cudaLaunchKernel');
        INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (5000000, 7000000, 0, 7, 11, 1);
        INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (7500000, 8000000, 0, 7, 12, 1048576, 1);
        INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (4000000, 4010000, 99, 11, 2);
        """
    )
    base.commit()
    base.close()
    return path


def served(path: Path, **changes: Any) -> Path:
    """A result of vLLM's benchmark."""
    result = {
        "model_id": "meta-llama/Llama-3.1-8B-Instruct", "duration": 60.0, "completed": 600, "total_input_tokens": 600 * 1024,
        "total_output_tokens": 600 * 128, "request_throughput": 10.0, "request_rate": 10.0, "max_concurrency": None,
        "mean_ttft_ms": 400.0, "median_ttft_ms": 380.0, "p99_ttft_ms": 900.0, "mean_tpot_ms": 20.0, "median_tpot_ms": 19.0,
        "p99_tpot_ms": 30.0, "mean_itl_ms": 20.0, "median_itl_ms": 12.0, "p99_itl_ms": 60.0,
    }  # fmt: skip
    path.write_text(json.dumps({**result, **changes}))
    return path
