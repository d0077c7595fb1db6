"""Traps found in the literature on offload and other hardware, each as arithmetic that must come out."""

from __future__ import annotations

import pytest

from speedlight.hardware.catalogue import load_machine
from speedlight.validation.ledger.bench import Bench
from speedlight.validation.ledger.ledger import Entry, ledger
from speedlight.workload.places import Place


def entries(*papers: str) -> dict[str, Entry]:
    return {entry.claim.id: entry for paper in ledger(papers) for entry in paper.claims}


def test_two_head_slices_are_one_gib_and_the_cache_128() -> None:
    found = entries("headinfer")
    assert found["headinfer#2"].found is not None
    assert found["headinfer#2"].found.value == pytest.approx(1.0, rel=1e-5)
    assert found["headinfer#2"].verdict.word == "reproduced"
    answer = Bench().ask(
        "llama-3.1-8b", "rtx-4090", phase="decode", batch=1, context=2**20 - 1, offload=(Place("kv", "host"),)
    )
    assert answer.tiers["host"]["total"] == 128 * 2**30


def test_25_petaflops_on_512_v100_are_39_percent() -> None:
    peak = load_machine("v100-sxm2-32gb", None).engine.peak("matmul", "fp16")[0].flops
    assert pytest.approx(48.8e12, rel=1e-3) == 25e15 / 512
    assert 25e15 / 512 / float(peak) == pytest.approx(0.39, abs=0.005)
    assert entries("zero-infinity")["zero-infinity#7"].verdict.word == "bounded"


def test_800_v100_for_a_trillion_parameters_are_more_than_their_states() -> None:
    """25.6 bytes a parameter: 16 to 20 of states, the rest activations and slack."""
    card = float(load_machine("v100-sxm3-32gb", None).main.capacity_bytes)
    assert 800 * card / 1e12 == pytest.approx(25.6)
    found = entries("zero-infinity")["zero-infinity#3"].found
    assert found is not None
    assert 16e12 / card < found.low < 800 < found.high
    assert not found.stated


def test_156_teraflops_on_a_4090_are_94_percent_of_one_peak_and_47_of_the_other() -> None:
    engine = load_machine("rtx-4090", None).engine
    wide, narrow = (float(engine.peak("matmul", "fp16", a)[0].flops) for a in ("fp32", "fp16"))
    assert 156e12 / wide == pytest.approx(0.94, abs=0.01)
    assert 156e12 / narrow == pytest.approx(0.47, abs=0.01)
    claim = "adding-nvme-ssds-to-enable-and-accelerate-100b-model-fine-tu"
    assert entries(claim)[f"{claim}#2"].verdict.word == "not explained"


def test_amdahl_on_averaged_shares_caps_below_what_is_reported() -> None:
    found = entries("hardware-acceleration-of-neural-graphics")
    last = found["hardware-acceleration-of-neural-graphics#11"]
    assert last.found is not None
    assert last.found.bound == pytest.approx(35.5, abs=0.01)
    assert last.found.bound < 39.0
    assert last.verdict.word == "not explained"
    assert "each application's own share" in last.found.why


def test_half_of_the_weights_in_a_bitmap_are_nine_of_sixteen_bits() -> None:
    found = entries("endor")["endor#2"].found
    assert found is not None
    assert found.high <= 16 / 9 < found.high * 1.01


def test_a_slow_path_is_a_path() -> None:
    """Nothing is derated: a disk's, a memory's and a link's seconds are their own bytes over their own rates."""
    answer = Bench().ask(
        "opt-6.7b", "rtx-4090", phase="decode", batch=1, context=128, offload=("weights:disk",), stack="accelerate"
    )
    link, disk, memory = (float(answer.least[r]) for r in ("link:pcie", "disk", "host_dram"))
    assert disk * 7e9 == pytest.approx(link * 31.5e9)
    assert memory * 76.75e9 == pytest.approx(
        4 * disk * 7e9
    )  # written by the disk, staged through a buffer: four passes
    assert answer.time > disk + link


def test_distribution_of_verdicts_is_not_cheap() -> None:
    """Three times a memory claim of ours is not explained."""
    import msgspec

    from speedlight.validation.ledger.verdicts import verdict

    for entry in entries("headinfer", "zero-offload", "zo2").values():
        if entry.found is not None and entry.verdict.word in ("reproduced", "bounded"):
            ends = entry.claim.ends
            assert ends is not None
            tripled = msgspec.structs.replace(entry.claim, claimed=(3 * ends[0], 3 * ends[1]))
            assert verdict(tripled, entry.found).word == "not explained", entry.claim.id
