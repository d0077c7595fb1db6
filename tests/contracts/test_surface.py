"""The public surface: exact exports, CONTRACT's JSON keys, start-up times, shipped files."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import speedlight
from speedlight.cli.main import main

EXPLAIN_KEYS = {
    "schema", "speedlight", "model", "machine", "stack", "phase", "parallel", "layer", "time", "low", "high", "limit",
    "bound", "flops", "flops_dense", "bytes", "mfu", "mbu", "throughput", "energy", "power", "cost", "ttft", "tpot",
    "memory", "ops", "sensitivities", "crossovers", "coverage", "assumptions",
}  # fmt: skip
OP_KEYS = {"name", "path", "kind", "count", "time", "busy", "limit", "bound", "flops", "bytes"}
KINDS = {
    "matmul", "conv", "attention", "norm", "softmax", "elementwise", "reduction", "embedding", "moe", "scan", "gather",
    "sort", "fft", "collective", "copy", "quantize", "gap", "other",
}  # fmt: skip


def test_everything_exported_is_there_and_nothing_else() -> None:
    for name in speedlight.__all__:
        assert getattr(speedlight, name) is not None
    assert set(dir(speedlight)) == set(speedlight.__all__)


def test_explain_json_has_the_contracts_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "qwen3-30b-a3b", "--on", "dgx-h100", "--tp", "2", "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) >= EXPLAIN_KEYS
    assert set(answer["model"]) == {"id", "params", "active_params", "weight_bytes", "kv_bytes_per_token"}
    assert set(answer["machine"]) >= {"id", "n_devices", "peak_used"}
    assert set(answer["machine"]["peak_used"]) == {"format", "accumulate", "flops", "grade"}
    assert set(answer["throughput"]) == {"value", "unit", "per_device"}
    memory = answer["memory"]
    assert set(memory) == {"total", "capacity", "headroom", "fits", "by_class", "tiers"}
    assert set(memory["by_class"]) == {
        "weights", "kv", "activations", "gradients", "optimizer", "cache", "workspace", "reserve",
    }  # fmt: skip
    assert answer["ops"]
    for row in answer["ops"]:
        assert set(row) >= OP_KEYS
        assert row["kind"] in KINDS
    assert sum(row["time"] for row in answer["ops"]) == pytest.approx(answer["time"], rel=1e-9)
    assert all(set(a) == {"what", "value", "grade", "source"} for a in answer["assumptions"])
    assert all(set(s) == {"parameter", "change", "gain"} for s in answer["sensitivities"])
    assert answer["energy"] is None
    assert answer["cost"] is None  # unknown is null, never 0


def test_fit_and_compare_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "llama-3.1-70b", "--on", "h100-sxm-80gb", "--json", "-"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) >= {"schema", "speedlight", "fits", "by", "largest_batch", "largest_context", "users", "levers"}
    assert main(["compare", "llama-3.1-8b", "--on", "h100-sxm-80gb", "--on", "rtx-4090", "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [set(r) >= EXPLAIN_KEYS - {"ops"} for r in rows] == [True, True]


def test_a_saved_question_gives_the_same_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = str(tmp_path / "s.yaml")
    assert (
        main(["explain", "llama-3.1-8b", "--on", "h100-sxm-80gb", "--isl", "77", "--save", saved, "--json", "-"]) == 0
    )
    first = json.loads(capsys.readouterr().out)
    assert main(["explain", saved, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == first


def test_stdout_holds_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["devices", "--json", "-"], ["devices", "--schema"], ["models", "llama", "--json", "-"]):
        assert main(words) == 0
        json.loads(capsys.readouterr().out)


def seconds_to(code: str) -> float:
    """Least seconds of the processor of three runs: noise only ever adds, and others at work on the machine do not count."""

    def run(program: str) -> float:
        timer = "import time; t = time.process_time()\n{}\nprint(time.process_time() - t)"
        out = subprocess.run([sys.executable, "-c", timer.format(program)], capture_output=True, text=True, check=True)
        return float(out.stdout.split()[-1])

    return min(run(code) for _ in range(3))


def test_importing_is_quick_and_light() -> None:
    assert seconds_to("import speedlight") < 0.15
    heavy = ["torch", "transformers", "pandas", "scipy", "numba", "pyarrow", "plotly", "sklearn"]
    code = (
        "import sys; from speedlight.cli.main import main\n"
        "assert main(['explain', 'llama-3.1-8b', '--on', 'h100-sxm-80gb', '--json', '/dev/null']) == 0\n"
        f"found = [m for m in {heavy} if m in sys.modules]; assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_is_quick() -> None:
    assert seconds_to("from speedlight.cli.main import main; main(['--help'])") < 0.3


def test_the_wheel_carries_its_data() -> None:
    root = files("speedlight")
    for needed in (
        "hardware/catalogue/index.json",
        "stacks/catalogue/ideal@1.yaml",
        "py.typed",
        "frontends/zoo/index.json",
    ):
        assert (root / needed).is_file(), needed


@pytest.mark.parametrize("verb", ["explain", "fit", "compare", "devices", "models", "validate"])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
