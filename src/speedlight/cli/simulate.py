"""The verb ``simulate``: a deployment under load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .._foundation.errors import BadInput
from . import options
from .output import emit_json
from .progress import ticking

load = options.group(
    click.option("--rate", type=float, help="Requests per second (Poisson unless --burstiness)."),
    click.option("--concurrency", type=int, help="Clients that each send again when their last request ended."),
    click.option("--arrivals", metavar="FILE", help="A trace: .parquet, .csv, .jsonl (Mooncake), .json (vllm bench)."),
    click.option("--isl", type=int, default=1024, show_default=True, help="Prompt tokens."),
    click.option("--osl", type=int, default=128, show_default=True, help="Output tokens."),
    click.option("--spread", type=float, default=0.0, help="Lengths vary uniformly by this share about --isl and --osl."),
    click.option("--requests", type=int, help="How many (1000, 10 a client, or the whole trace)."),
    click.option("--burstiness", type=float, default=1.0, help="Shape of the gaps: 1 Poisson, below 1 bursts."),
    click.option("--think", type=float, default=0.0, help="Seconds between a client's requests."),
    click.option("--prefix", metavar="TOKENS:GROUPS", help="Prompt tokens shared within each of so many groups."),
    click.option("--turns", type=int, default=1, help="Turns of a conversation, each with all that was said before (--rate of conversations)."),
    click.option("--pause", type=float, default=10.0, help="Seconds between an answer and the next turn."),
    click.option("--adapters", type=int, default=0, help="Low-rank adapters asked for."),
    click.option("--skew", type=float, default=1.0, help="The k-th adapter is asked for k^-skew as often."),
    click.option("--seed", type=int, default=0),
)  # fmt: skip

engines = options.group(
    click.option("--policy", metavar="NAME[@VERSION]", help="Scheduler: vllm@0, vllm@1, sglang, tensorrt-llm …; the stack's if left out."),
    click.option("--replicas", default="1", show_default=True, help="Engines behind the router, or several numbers: 1,2,4."),
    click.option("--prefill-replicas", type=int, default=0, help="Engines that run prompts only (disaggregated serving)."),
    click.option("--prefill-tp", type=int, default=0, help="Their tensor-parallel degree (0: as the others')."),
    click.option("--prefill-machine", default="", help="What they run on."),
    click.option("--router", default="least-loaded", help="least-loaded | round-robin"),
    click.option("--max-seqs", type=int, default=256, show_default=True, help="Sequences an engine runs at once."),
    click.option("--token-budget", type=int, default=8192, show_default=True, help="New tokens of a step at most."),
    click.option("--block-size", type=int, default=16, show_default=True, help="Tokens of a KV block."),
    click.option("--kv-blocks", type=int, help="KV blocks, instead of those that fit."),
    click.option("--attention-dp", type=int, default=1, help="Replicas of the attention within an engine; experts are shared."),
    click.option("--memory-utilisation", type=float, default=0.9, help="Share of a device's memory that the engine takes."),
    click.option("--drafted", type=int, default=0, help="Drafted tokens a step (speculative decoding)."),
    click.option("--acceptance", type=float, default=0.0, help="Chance that a drafted token is kept."),
    click.option("--kv-link", "link", metavar="B/S", help="Bandwidth of a device's link for keys and values."),
    click.option("--adapter-slots", type=int, default=0, help="Adapters in memory at once (0: all)."),
    click.option("--adapter-seconds", type=float, default=0.0, help="Seconds to bring one."),
    click.option("--adapter-rank", type=int, default=0, help="Rank of the adapters, which steps then read and multiply by."),
    click.option("--scale-up", type=float, default=0.0, help="Requests in flight a replica above which one is started."),
    click.option("--scale-down", type=float, default=0.0, help="… and below which an idle one is stopped."),
    click.option("--cold-start", type=float, default=0.0, help="Seconds until a new replica serves."),
)  # fmt: skip


def run(model: str, on: str | None, slo: str, curve: int, find_rate: bool, tp: str, techniques: bool, json_to: str | None,
        html: Path | None, given: dict[str, Any]) -> int:  # fmt: skip
    """Answer for one layout, or for each of several tensor-parallel degrees and numbers of replicas."""
    from .._foundation.quantity import parse_quantity
    from ..engine.serving.simulate import Answer, answer, asked, with_curve
    from ..serving.compiled import to_compile
    from ..serving.metrics import parse_slo
    from ..techniques.compose import applied
    from .question import question

    objectives = parse_slo(slo) if slo else ()
    if find_rate and not objectives:
        raise BadInput("--find-rate without objectives", expected="--slo, like ttft:p95<2s,tpot:p95<50ms")
    if given.get("prefix"):
        given["shared"], given["groups"] = _prefix(given.pop("prefix"))
    if given.get("link"):
        given["link"] = parse_quantity(given["link"], "B/s")
    layouts = [(t, r) for t in _numbers("--tp", tp) for r in _numbers("--replicas", str(given.pop("replicas", 1)))]
    asked_serving, rest = asked(given)
    if techniques and len(layouts) > 1:
        raise BadInput("--whatif of several layouts", expected="one --tp and one --replicas")
    if to_compile():
        print("compiling the event loop, once: about half a minute", file=sys.stderr, flush=True)
    found: list[Answer] = []
    with ticking("simulating", len(layouts) * (curve + (25 if find_rate else 1))) as tick:
        for degree, replicas in layouts:
            asked_question = question(model, on, {**rest, "phase": "decode", "tp": degree})
            asked_question = asked_question.replace(serving=asked_serving.with_engines(replicas=replicas))
            one = answer(applied(asked_question), objectives)
            tick()
            found.append(with_curve(one, points=curve, search=find_rate, tick=tick))
    outcomes = _whatif(asked_question, objectives) if techniques else ()
    if html is not None:
        from .._foundation.files import write_atomically
        from ..report.serving_html import simulate_html

        for one, name in zip(found, _names(html, layouts), strict=True):
            write_atomically(name, simulate_html(one))
            print(f"wrote {name}", file=sys.stderr)
    if json_to is not None:
        from .._foundation.version import VERSION

        each = [one.to_dict() for one in found]
        data = each[0] if len(each) == 1 else {"layouts": each}
        if outcomes:
            data = {**data, "whatif": [o.to_dict() for o in outcomes]}
        emit_json({"schema": 1, "speedlight": VERSION, **data}, json_to)
    if json_to != "-":
        from rich.console import Console

        from ..report.serving import render_served, render_simulate

        console = Console(width=None if sys.stdout.isatty() else 110)
        for one in found:
            console.print(render_simulate(one))
        if outcomes:
            console.print(render_served(outcomes))
    return 0 if any(one.holds for one in found) else 1


def run_loop(model: str, on: str | None, slo: str, curve: int, find_rate: bool, tp: str, whatif: bool, json_to: str | None,
             html: Path | None, loop: dict[str, Any], given: dict[str, Any]) -> int:  # fmt: skip
    """An iteration of a post-training loop, whose rollout is the load."""
    from .._foundation.quantity import parse_quantity
    from . import post_training

    not_of_it = {
        "--slo": slo,
        "--curve": curve,
        "--find-rate": find_rate,
        "--whatif": whatif,
        "--html": html,
        "--technique": given.pop("technique", ()),
    }
    for option, value in not_of_it.items():
        if value:
            raise BadInput(f"{option} of a post-training loop", expected="a load of users, without --train")
    degrees, replicas = _numbers("--tp", tp), _numbers("--replicas", str(given.pop("replicas", 1)))
    if len(degrees) > 1 or len(replicas) > 1:
        raise BadInput("several layouts of a post-training loop", expected="one --tp and one --replicas")
    if given.pop("prefix", None):
        raise BadInput("--prefix of a post-training loop", expected="--samples, which begin alike by themselves")
    if given.get("link"):
        given["link"] = parse_quantity(given["link"], "B/s")
    words = {k: v for k, v in given.items() if v is not None and k != "symbols"}
    return post_training.run(model, on, loop, json_to, {**words, "tp": degrees[0], "replicas": replicas[0]})


def _whatif(question: Any, objectives: Any) -> Any:
    """What techniques would do to the load."""
    from ..techniques.served import whatif_served
    from .progress import counted

    with counted("techniques") as tell:
        return whatif_served(question, objectives, progress=lambda done, of: tell(done, of, ""))[1]


def _prefix(text: str) -> tuple[int, int]:
    tokens, _, groups = text.partition(":")
    if not tokens.isdigit() or (groups and not groups.isdigit()):
        raise BadInput(f"--prefix {text}", expected="TOKENS:GROUPS, like 512:20")
    return int(tokens), int(groups or 1)


def _numbers(option: str, text: str) -> list[int]:
    parts = text.split(",")
    if not all(p.strip().isdigit() and int(p) > 0 for p in parts):
        raise BadInput(f"{option} {text}", expected="a number, or several joined by commas")
    return [int(p) for p in parts]


def _names(html: Path, layouts: list[tuple[int, int]]) -> list[Path]:
    """One page a layout."""
    if len(layouts) == 1:
        return [html]
    return [html.with_name(f"{html.stem}-tp{t}-{r}x{html.suffix}") for t, r in layouts]
