"""The verbs. Each builds a question, asks the API and hands the answer to ``report``; imports happen when a verb runs.

Bare click, not typer: typer 0.29 builds a pydantic adapter for every option and takes 250 ms of a cold start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from .._foundation.errors import BadInput
from .._foundation.version import VERSION
from . import claims, options, post_training, techniques, verify
from . import simulate as serving
from .output import answered, emit_json, show

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=SETTINGS)
@click.version_option(VERSION, message="%(version)s")
def app() -> None:
    """How fast a deep-learning model runs on a machine, why, and what would make it faster."""


@app.command()
@click.argument("model")
@options.machine
@options.question
@options.run
@options.cut
@options.later
@click.option("--by", default="op", help="Rows of the table: layer | op | kind", show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="Write the scenario to a file that explain replays.")
@options.json_to
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained page.")
@click.option("--timeline", type=click.Path(path_type=Path), help="Write what runs when, for ui.perfetto.dev (JSON).")
@options.folders
def explain(
    model: str, on: str | None, by: str, save: Path | None, json_to: str | None, html: Path | None, timeline: Path | None,
    tokens: float | None, device_hours: float | None, restart: float | None, store: str | None, before: tuple[str, ...],
    links: tuple[str, ...], back: str | None, aim: str | None, **given: Any
) -> int:  # fmt: skip
    """How long it takes, why, and how far that is from the speed of light.

    MODEL is a bundled or hub id, a config.json or model folder, file.py:factory, an ops file or a saved scenario (.yaml).
    """
    if by not in ("layer", "op", "kind"):
        raise BadInput(f"--by {by}", expected="layer, op or kind")
    from ..api import explain as ask
    from ..api import fit as ask_fit
    from .question import question

    asked = question(model, on, given)
    found = _cuts(asked, before, links, back, aim)
    aim = aim or "latency"
    if found is not None:
        asked = found.scenario(found.best(aim))
    answer = ask(asked)
    levers = [] if answer.fits else ask_fit(asked)["levers"]
    from ..engine.answers.prediction import plain

    whole = _run(answer, tokens, {"device_hours": device_hours, "restart_s": restart, "store": store})
    if save is not None:
        from ..scenario.file import save as keep

        keep(asked, save)
    if html is not None:
        from .._foundation.files import write_atomically
        from ..report.html import explain_html

        write_atomically(html, explain_html(answer, levers=levers))
        print(f"wrote {html}", file=sys.stderr)
    if timeline is not None:
        from .._foundation.files import write_atomically
        from ..api import timeline as draw
        from ..report.chrome import chrome_json

        write_atomically(timeline, chrome_json(draw(asked)))
        print(f"wrote {timeline}: drop it on https://ui.perfetto.dev", file=sys.stderr)
    if answered(
        {
            **answer.to_dict(), "levers": levers, **({"run": plain(whole.to_dict())} if whole is not None else {}),
            **({"cuts": plain(found.to_dict(aim))} if found is not None else {}),
        },
        json_to,
    ):  # fmt: skip
        from ..report.text import render_explain

        show(render_explain(answer, by=by, levers=levers))
        if whole is not None:
            from ..report.run import run_lines

            show("\n".join(run_lines(whole)))
        if found is not None:
            from ..report.cuts import render_cuts

            show(render_cuts(found, aim))
    return 0 if answer.fits else 1


def _cuts(asked: Any, before: tuple[str, ...], links: tuple[str, ...], back: str | None, aim: str | None) -> Any:
    """Every cut of the question's network, where machines before its own are named."""
    if not before:
        for name, value in (("link", links), ("back", back), ("cut", aim)):
            if value:
                raise BadInput(
                    f"--{name} is about a network cut between machines", expected="--before MACHINE beside it"
                )
        return None
    if not links:
        raise BadInput("no link is given between the machines", expected="--link RATE, like --link '100 Mbit/s + 5 ms'")
    from ..api import cuts
    from ..engine.cut import AIMS

    if aim is not None and aim not in AIMS:
        raise BadInput(f"--cut {aim}", expected=" or ".join(AIMS))
    return cuts(asked, before=before, links=links, back=back or "")


def _run(answer: Any, tokens: float | None, stated: dict[str, Any]) -> Any:
    """The whole run of a training step, where tokens are given."""
    given = {k: v for k, v in stated.items() if v is not None}
    if tokens is None:
        if given:
            name = next(iter(given)).removesuffix("_s").replace("_", "-")
            raise BadInput(f"--{name} is about a run", expected="--tokens N beside it")
        return None
    from ..engine.training.runs import run, run_of

    return run(run_of(answer, tokens, **given))


@app.command()
@click.argument("model")
@options.machine
@options.question
@options.json_to
@options.folders
def fit(model: str, on: str | None, json_to: str | None, **given: Any) -> int:
    """Does it fit? Largest batch, context and number of users; exit code 1 if it does not."""
    from ..api import fit as ask
    from .question import question

    answer = ask(question(model, on, given))
    if answered(answer, json_to):
        from ..report.text import render_fit

        show(render_fit(answer))
    return 0 if answer["fits"] else 1


@app.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--on", "--system", "on", multiple=True, required=True, metavar="MACHINE", help="Repeatable.")
@options.question
@options.json_to
@options.folders
def compare(models: tuple[str, ...], on: tuple[str, ...], json_to: str | None, **given: Any) -> int:
    """Models × machines in one table, fastest first."""
    from ..api import ranked
    from .question import question

    answers = ranked([[question(model, machine, given) for machine in on] for model in models])
    if answered({"rows": [a.to_dict(ops=False) for a in answers]}, json_to):
        from ..report.text import render_compare

        show(render_compare(answers))
    return 0


@app.command()
@click.argument("model")
@options.machine
@serving.load
@serving.engines
@post_training.loop
@click.option("--slo", default="", metavar="LIST", help="Objectives, like ttft:p95<2s,tpot:p95<50ms; exit 1 if missed.")
@click.option("--curve", type=int, default=0, metavar="N", help="A load–latency curve of N rates.")
@click.option("--find-rate", is_flag=True, help="The largest rate that holds the objectives.")
@click.option("--whatif", "techniques", is_flag=True, help="What techniques about serving would do to this load.")
@click.option("--tp", default="1", show_default=True, help="Tensor-parallel degree, or several: 1,2,4.")
@click.option("--pp", type=int, default=1, help="Pipeline degree.")
@click.option("--ep", type=int, default=1, help="Expert-parallel degree, within the tensor-parallel ranks.")
@options.formats
@options.software
@options.later
@options.json_to
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained page.")
@options.folders
def simulate(
    model: str, on: str | None, slo: str, curve: int, find_rate: bool, techniques: bool, tp: str, json_to: str | None,
    html: Path | None, **given: Any,
) -> int:  # fmt: skip
    """What users of a serving deployment see under a load: TTFT, TPOT, throughput, queues, the largest rate for an SLO.

    With --train the load is the samples of a post-training loop, and the answer an iteration: rollout, reward, training, weight sync.
    """
    loop = post_training.taken(given)
    if loop:
        return serving.run_loop(model, on, slo, curve, find_rate, tp, techniques, json_to, html, loop, given)
    return serving.run(model, on, slo, curve, find_rate, tp, techniques, json_to, html, given)


@app.command()
@click.argument("pattern", default="")
@options.json_to
@click.option("--schema", is_flag=True, help="Print the JSON schema of a machine file.")
def devices(pattern: str, json_to: str | None, schema: bool) -> int:
    """Machines in the catalogue; PATTERN keeps those whose id, name, vendor or architecture contains it."""
    if schema:
        from ..hardware.spec import json_schema

        emit_json(json_schema(), "-")
        return 0
    from .listing import device_rows

    rows = device_rows(pattern)
    if not rows:
        raise BadInput(f"no machine matches {pattern!r}", hint="`speedlight devices` lists all")
    if answered({"devices": rows}, json_to):
        from ..report.text import render_devices

        show(render_devices(rows))
    return 0


@app.command("models")
@click.argument("pattern", default="")
@options.json_to
def list_models(pattern: str, json_to: str | None) -> int:
    """Bundled models, ready offline; PATTERN keeps ids that contain it."""
    from .listing import model_rows

    rows = model_rows(pattern)
    if not rows:
        raise BadInput(f"no bundled model matches {pattern!r}", hint="`speedlight models` lists all")
    if answered({"models": rows}, json_to):
        from ..report.text import render_models

        show(render_models(rows))
    return 0


@app.command()
@click.argument("table", type=click.Path(path_type=Path), required=False)
@click.option("--suite", help="Rules to use; by file name or columns if left out.")
@click.option(
    "--cv", metavar="group|device", help="Refit without each and write out-of-fold predictions (extra 'fit')."
)
@click.option("--leave", metavar="A,B", default="", help="With --cv device: the devices to leave out, one at a time.")
@click.option("--on", "--system", "on", metavar="MACHINE", help="Machine of rows that name none: id or your own .yaml.")
@click.option("--predictions", type=click.Path(path_type=Path), help="Write every row with its predictions (Parquet).")
@click.option("--bar", multiple=True, metavar="COLUMN:METRIC=VALUE", help="Repeatable; exit 1 if one is missed.")
@click.option("--all", "everything", is_flag=True, help="Every table of --data that has a suite: the accuracy page.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data folder for --all.  [default: SPEEDLIGHT_DATA or ../shared/data]",
)
@options.json_to
def validate(
    table: Path | None, everything: bool, data: Path | None, json_to: str | None, leave: str, **given: Any
) -> int:
    """Predictions beside measurements: error by device and format, rows below the limit."""
    if everything:
        return _validate_all(table, data, json_to, {**given, "leave": leave})
    if table is None:
        raise BadInput("validate needs a TABLE", expected="a .parquet, .csv or .csv.gz, or --all with --data DIR")
    if data is not None:
        raise BadInput("--data names the folder of --all", expected="--all beside it")
    from ..validation.validate import parse_bar
    from ..validation.validate import validate as check

    bars = [parse_bar(b) for b in given.pop("bar")]
    names = [name.strip() for name in leave.split(",") if name.strip()]
    result = check(table, bars=bars, leave=names, progress=_progress, **given)
    if answered(result, json_to):
        from ..report.validation import render_validation

        show(render_validation(result))
    return 0 if result["passed"] else 1


@app.command()
@click.argument("table", type=click.Path(path_type=Path))
@options.machine
@click.option("--suite", help="Rules to use; by file name or columns if left out.")
@click.option("--framework", metavar="NAME", help="Library whose kernels rows without a framework measured (vllm …).")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Machine file to write, for --on; others' entries are kept."
)
@click.option("--quick", is_flag=True, help="Estimate errors from one fit instead of refitting without each point.")
@options.json_to
def calibrate(table: Path, on: str | None, json_to: str | None, **given: Any) -> int:
    """From 5 to 20 points measured on your own device: how its kernels differ from what ships; exit 1 if nothing is gained.

    TABLE is a .parquet, .csv or .csv.gz with the columns of a table that validate knows, like m,n,k,gemm_dtype,latency; or the
    evidence file (.json) that `speedlight measure` wrote of this machine, whose operators give curves over their sizes.
    """
    if on is None:
        raise BadInput("calibrate needs the machine the points were measured on", expected="--on MACHINE")
    from ..validation.calibrate import calibrate as ask

    result = ask(table, on, **given)
    if answered(result, json_to):
        from ..report.calibration import render_calibration

        show(render_calibration(result))
    return 0 if result["gained"] else 1


@app.command()
@click.argument("model", required=False)
@options.machine
@options.question
@click.option(
    "--out", type=click.Path(path_type=Path), help="Evidence file; one that exists is gone on with.  [evidence.json]"
)
@click.option(
    "--machine", "machine_file", type=click.Path(path_type=Path), help="Machine file to write, for --on.  [here.yaml]"
)
@click.option("--quick", is_flag=True, help="A few points of each sort: under a minute.")
@click.option(
    "--only", multiple=True, metavar="SORT", help="launch | stream | operator | transfer | message | disk; repeatable."
)
@click.option(
    "--time",
    "time_s",
    type=click.FloatRange(0.01, 600),
    help="Seconds for each point (0.35) or for MODEL (2), at most.",
)
@click.option("--device", metavar="NAME", help="cpu, cuda, mps; by default the accelerator where PyTorch sees one.")
@options.json_to
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained page (MODEL).")
@options.folders
def measure(model: str | None, on: str | None, json_to: str | None, html: Path | None, **given: Any) -> int:
    """Measure this machine; or run MODEL here and set its time and memory beside the prediction.

    Without MODEL: bandwidths, peaks, operators, dispatch; writes evidence and a machine file for --on. A measurement that was
    interrupted goes on where it stopped. With MODEL (file.py:factory or one of timm's names): its code is run, since you named it.
    """
    from .measuring import measure_machine, measure_module

    own = {k: given.pop(k) for k in ("out", "machine_file", "quick", "only", "time_s", "device")}
    if model is None:
        return measure_machine(own, {**given, "on": on, "html": html}, lambda data: answered(data, json_to), show)
    return measure_module(model, on, own, given, html, lambda data: answered(data, json_to), show)


@app.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.machine
@click.option("--model", help="What ran, to set its prediction beside the trace; needed for a server's benchmark.")
@click.option("--against", type=click.Path(path_type=Path), help="An earlier trace to compare with.")
@options.question
@options.json_to
@options.folders
def diagnose(
    files: tuple[Path, ...], on: str | None, model: str | None, against: Path | None, json_to: str | None, **given: Any
) -> int:
    """Why a recorded run is slow, and the changes worth most.

    FILES are a trace of torch.profiler (.json, .json.gz), one of each rank or a folder of them, an SQLite export of Nsight
    Systems, or a result of `vllm bench serve`. Nothing in them is executed.
    """
    if on is None:
        raise BadInput("diagnose needs the machine the trace was recorded on", expected="--on MACHINE, or --on here")
    from ..api import diagnose as ask
    from .question import question

    asked = None if model is None else question(model, on, given)
    stack = given.get("stack") or "torch-eager"
    answer = ask(list(files), on, model=asked, against=against, stack=stack)
    if answered(answer, json_to):
        from ..report.diagnosis import render_diagnosis

        show(render_diagnosis(answer))
    return 0


def _validate_all(table: Path | None, data: Path | None, json_to: str | None, given: dict[str, Any]) -> int:
    """The accuracy page; options of one table have no meaning here."""
    stray = ["TABLE"] * (table is not None) + [f"--{name}" for name, value in given.items() if value]
    if stray:
        raise BadInput(f"{stray[0]} beside --all", expected="--all with --data DIR and --json alone")
    from ..validation.everything import validate_all

    result = validate_all(data or os.environ.get("SPEEDLIGHT_DATA", "../shared/data"), _progress)
    if answered(result, json_to):
        from ..report.accuracy import render_accuracy

        show(render_accuracy(result), width=150)
    return 0


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


for command in (techniques.whatif, techniques.list_techniques, verify.verify, claims.claims, claims.check_claim):
    app.add_command(command)
