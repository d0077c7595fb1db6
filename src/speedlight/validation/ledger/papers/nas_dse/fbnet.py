"""FBNet: blocks picked from a table of latencies measured on the phone they are for.

Its networks are written out from the published table of blocks. Work is counted as its authors count it, a multiply-add as one.
"""

from __future__ import annotations

from ...bench import Bench
from ...finding import Finding, Span, exactly, over
from ...registry import derives
from ..model_architecture.images import one_core, products, ratio


def _phone(bench: Bench, model: str, machine: str = "galaxy-s8") -> list[Span]:
    """Seconds of one image on a phone's cores, or on one of them, with an engine that folds norms and one that folds nothing."""
    found = []
    for stack in bench.unstated(
        "stack", ("onnxruntime", "torch-eager"), "an engine of 2018 lies between one tuned today and an eager framework"
    ):
        for threads in bench.unstated("threads", ("one", "all")):
            own = one_core(bench, machine, 10e9) if threads == "one" else {}
            if stack == "torch-eager" and own:
                continue
            answer = bench.ask(model, machine, phase="forward", batch=1, dtype="fp32", stack=stack, overrides=own)
            found.append(bench.time(answer))
    return found


@derives("fbnet#2")
def work(bench: Bench) -> Finding:
    bench.stated(model="fbnet-b")
    return over(
        [exactly(bench.size(products("fbnet-b")) / 2e6)], "multiply-adds of one image of 224 pixels", more=False
    )


@derives("fbnet#3")
def latency(bench: Bench) -> Finding:
    bench.stated(model="fbnet-b", machine="galaxy-s8")
    return over(
        [s.mapped(lambda x: x * 1e3) for s in _phone(bench, "fbnet-b")], "one image on the four fast cores", more=False
    )


@derives("fbnet#4")
def size(bench: Bench) -> Finding:
    """Size as parameters or as work: the abstract says neither."""
    bench.given("model", "fbnet-b, mobilenet-v2-1.3")
    weights = bench.facts("mobilenet-v2-1.3")["params"] / bench.facts("fbnet-b")["params"]
    ops = products("mobilenet-v2-1.3") / products("fbnet-b")
    spans = [
        exactly(bench.size(x)) for x in bench.unstated("size counted as", (weights, ops), "parameters, multiply-adds")
    ]
    return over(spans, "MobileNetV2-1.3 over FBNet-B")


@derives("fbnet#5")
def speed(bench: Bench) -> Finding:
    bench.stated(machine="galaxy-s8")
    bench.given("model", "fbnet-b, mobilenet-v2-1.3")
    spans = [
        ratio(bench, "mobilenet-v2-1.3", "fbnet-b", "galaxy-s8", phase="forward", batch=1, dtype="fp32", stack=stack)
        for stack in bench.unstated("stack", ("onnxruntime", "torch-eager"))
    ]  # fmt: skip
    return over(spans, "one image of 224 pixels on the four fast cores")


@derives("fbnet#10")
def smallest(bench: Bench) -> Finding:
    bench.stated(machine="galaxy-s8")
    bench.given("model", "fbnet-96-0.35", "assumed", "the smallest size and width such families are given at")
    return over(
        [s.mapped(lambda x: x * 1e3) for s in _phone(bench, "fbnet-96-0.35")],
        "one image of 96 pixels at 0.35 times the width",
        more=False,
    )


@derives("fbnet#11")
def frames(bench: Bench) -> Finding:
    bench.stated(machine="galaxy-s8")
    bench.given("model", "fbnet-96-0.35", "assumed", "the smallest size and width such families are given at")
    return over(
        [s.mapped(lambda x: 1 / x) for s in _phone(bench, "fbnet-96-0.35")], "one over the latency of one image"
    )


@derives("fbnet#12")
def other_phone(bench: Bench) -> Finding:
    """A network searched for another phone, on this one: what a table of latencies of the right phone is worth."""
    bench.stated(machine="iphone-x")
    spans = []
    for slow, fast in bench.unstated(
        "networks",
        (("fbnetc_100", "fbnet-b"), ("fbnet-b", "fbnet-a"), ("fbnetc_100", "fbnet-a")),
        "members of one search",
    ):
        spans.append(ratio(bench, slow, fast, "iphone-x", phase="forward", batch=1, dtype="fp32", stack="onnxruntime"))
    return over(spans, "one image with one member over another: the searched networks for the two phones are not given")
