"""Multi-token prediction modules: counts against published figures, what they share, what a draft pass costs."""

from __future__ import annotations

import pytest

import speedlight
from speedlight._foundation.errors import SpeedlightError
from speedlight.frontends.hf.arch import Attention, Mla, Moe
from speedlight.frontends.hf.config import Config
from speedlight.frontends.source import load_graph
from speedlight.frontends.zoo import zoo_entry
from speedlight.graph import stats
from speedlight.graph.ir import Graph


def graphs(model: str, passes: int = 1) -> tuple[Graph, Graph]:
    return load_graph(model), load_graph(model, mtp=passes)


def own(model: str) -> int:
    """Parameters of one module beside the shared table and head."""
    without, with_one = graphs(model)
    return stats.parameters(with_one) - stats.parameters(without)


def test_deepseek_v3s_module_has_the_published_parameters() -> None:
    """README_WEIGHTS of the release: 671B main; MTP: 11.5B of its own, and the 0.9B table and 0.9B head it shares."""
    hidden, mixture, attention = 7168, 257 * 3 * 7168 * 2048 + 256 * 7168, 187107328
    norms = 2 * hidden + 1536 + 512  # the layer's and its latents'
    exact = mixture + attention - 1536 - 512 + norms + 2 * hidden * hidden + 3 * hidden
    assert own("deepseek-v3") == exact
    assert own("deepseek-v3") == pytest.approx(11.5e9, rel=0.011)
    without, _ = graphs("deepseek-v3")
    shared = 2 * 129280 * hidden
    assert stats.parameters(without) == pytest.approx(671e9, rel=1e-3)
    assert own("deepseek-v3") + shared == pytest.approx(14e9, rel=0.05)  # "14B of the MTP module weights"


def test_qwen3_nexts_checkpoint_holds_main_model_and_module() -> None:
    """79.7 B of the main model (its configuration's count); the hub counts 81 B in the files."""
    assert stats.parameters(load_graph("qwen3-next-80b-a3b", mtp=1)) == pytest.approx(81e9, abs=0.5e9)


def test_a_modules_layer_is_like_the_last() -> None:
    from speedlight.frontends.hf import architecture

    for model, mixer in (("deepseek-v3", Mla), ("qwen3-next-80b-a3b", Attention)):
        entry = zoo_entry(model)
        assert entry is not None
        mtp = architecture(Config(entry["config"])).mtp
        assert mtp is not None
        assert mtp.modules == 1
        assert isinstance(mtp.layer.mixer, mixer)
        assert isinstance(mtp.layer.ffn, Moe)


def test_it_is_off_unless_asked_for_and_says_so() -> None:
    plain = speedlight.explain("deepseek-v3", "dgx-h200", phase="decode", tp=8)
    drafting = speedlight.explain("deepseek-v3", "dgx-h200", phase="decode", tp=8, mtp=1)
    said = [{a.what: a.value for a in p.assumptions}["multi-token prediction"] for p in (plain, drafting)]
    assert "left out" in said[0]
    assert "--mtp 1" in said[0]
    assert said[1].startswith("1 draft passes")
    assert not any(o.path.startswith("model.mtp") for o in plain.ops)


def test_a_draft_pass_costs_one_layer_and_the_head() -> None:
    """Decoding is bound by bytes: one of 61 layers (its experts are as many), the table's rows, the head."""
    options = {"phase": "decode", "batch": 64, "context": 2048, "tp": 8}
    plain, one, three = (speedlight.explain("deepseek-v3", "dgx-h200", mtp=n, **options) for n in (0, 1, 3))
    layer = sum(o.time / o.count for o in plain.ops if o.path.startswith("model.layers") and o.count == 58)
    head = sum(o.time for o in plain.ops if o.path.startswith("lm_head"))
    assert layer + head < one.time - plain.time < 1.15 * (layer + head)
    assert three.time - plain.time == pytest.approx(3 * (one.time - plain.time), rel=1e-6)  # one module, run again
    assert three.memory.by_class["weights"] == one.memory.by_class["weights"]
    kept = one.memory.by_class["kv"] / plain.memory.by_class["kv"]
    assert kept == pytest.approx(62 / 61, rel=1e-9)
    assert sum(o.time for o in three.ops) == pytest.approx(three.time, rel=1e-9)


def test_a_scenario_keeps_it() -> None:
    from speedlight.scenario.file import from_plain, to_plain
    from speedlight.scenario.scenario import Scenario

    asked = speedlight.make_scenario("deepseek-v3", "dgx-h200", phase="decode", mtp=2)
    assert from_plain(to_plain(asked), Scenario, "x").program.model.mtp == 2
    assert "mtp" not in str(to_plain(speedlight.make_scenario("deepseek-v3", "dgx-h200", phase="decode")))


@pytest.mark.parametrize(("model", "options"), [
    ("llama-3.1-8b", {"mtp": 1}), ("bert-base", {"mtp": 1}), ("deepseek-v3", {"mtp": -1}), ("deepseek-v3", {"mtp": 1.5}),
    ("deepseek-v3", {"mtp": 1, "phase": "train"}), ("step-3.7-flash", {"mtp": 4}),
])  # fmt: skip
def test_what_cannot_draft_is_refused(model: str, options: dict[str, object]) -> None:
    with pytest.raises(SpeedlightError):
        speedlight.explain(model, "dgx-h200", **options)
