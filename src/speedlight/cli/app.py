"""The verbs and their options. Each verb builds a question, asks the API and hands the answer to ``report``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .._foundation.errors import BadInput
from .main import emit_json

app = typer.Typer(
    name="speedlight",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="How fast a deep-learning model runs on a machine, why, and what would make it faster.",
)

Model = Annotated[str, typer.Argument(help="Bundled or hub id, config.json, model folder, file.py:factory, or a saved scenario (.yaml).")]
On = Annotated[str | None, typer.Option("--on", "--system", help="Machine id (speedlight devices), your own .yaml, or 'here'.")]
Phase = Annotated[str | None, typer.Option(help="forward | prefill | decode | generate | train")]
Batch = Annotated[int | None, typer.Option("--batch", "--bs", "--batch-size", help="Sequences or images per replica; global batch for train.")]
Isl = Annotated[int | None, typer.Option("--isl", help="Prompt tokens per sequence.")]
Osl = Annotated[int | None, typer.Option("--osl", help="Output tokens per sequence.")]
Context = Annotated[int | None, typer.Option(help="Tokens already cached per sequence (decode).")]
Dtype = Annotated[str | None, typer.Option(help="Everything in this number format (bf16, fp16, fp32, fp8 …).")]
Weights = Annotated[str | None, typer.Option(help="Format of linear layers' weights (fp8, int4, nvfp4 …).")]
Activations = Annotated[str | None, typer.Option(help="Format linear layers multiply in.")]
Kv = Annotated[str | None, typer.Option("--kv", help="Format of the KV cache.")]
Tp = Annotated[int, typer.Option("--tp", help="Tensor-parallel degree.")]
Pp = Annotated[int, typer.Option("--pp", help="Pipeline degree.")]
Dp = Annotated[int, typer.Option("--dp", help="Replicas of the model.")]
Ep = Annotated[int, typer.Option("--ep", help="Expert-parallel degree, within the tensor-parallel ranks.")]
Cp = Annotated[int, typer.Option("--cp", help="Context-parallel degree.")]
Zero = Annotated[int, typer.Option("--zero", help="ZeRO stage.")]
StackName = Annotated[str | None, typer.Option("--stack", help="Software: ideal, torch-eager, vllm, llama.cpp, name@version or a .yaml.")]
Power = Annotated[float | None, typer.Option(help="Power limit in watts per device.")]
Input = Annotated[list[str] | None, typer.Option("--input", help="Input shape of a module, e.g. 1x3x224x224[:fp16]; repeatable.")]
Optimizer = Annotated[str, typer.Option(help="adamw | adam | sgd | sgd_momentum | lion")]
Recompute = Annotated[str, typer.Option(help="none | selective | full")]
MicroBatch = Annotated[int | None, typer.Option("--micro-batch", help="Sequences per forward and backward pass (train).")]
MoeLoad = Annotated[str, typer.Option("--moe-load", help="balanced | power:a")]
Techniques = Annotated[list[str] | None, typer.Option("--technique", help="NAME[:k=v,…]; repeatable.")]
Schedule = Annotated[str | None, typer.Option(help="Pipeline schedule.")]
Offload = Annotated[list[str] | None, typer.Option(help="CLASS:TIER; repeatable.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON to a file, or to stdout with '-'.")]
Models = Annotated[str | None, typer.Option("--models", metavar="DIR", help="Folder of further model configurations.")]
Machines = Annotated[str | None, typer.Option("--machines", metavar="DIR", help="Folder of your own machine files.")]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """How fast a deep-learning model runs on a machine, why, and what would make it faster."""
    if version:
        from .. import __version__

        print(__version__)
        raise typer.Exit()


def _question(model: str, on: str | None, options: dict[str, Any]) -> Any:
    from ..api import make_scenario

    techniques, schedule, offload = (options.pop(k, None) for k in ("techniques", "schedule", "offload"))
    if model.endswith((".yaml", ".yml")):
        from ..scenario.file import load

        question = load(model)
        stated = sorted(k for k, v in options.items() if v is not None and v != _NEUTRAL.get(k))
        if stated:
            raise BadInput(
                f"a saved scenario is given together with --{stated[0].replace('_', '-')}",
                expected="the scenario alone, or with --on",
                hint=f"edit {model}",
            )
        return question if on is None else question.replace(machine=on)
    if on is None:
        raise BadInput("no machine is given", expected="--on MACHINE", hint="`speedlight devices` lists them; 'here' is this one")
    question = make_scenario(model, on, **{k: v for k, v in options.items() if v is not None})
    if schedule:
        question = question.replace(schedule=schedule)
    if offload:
        raise BadInput(f"--offload {offload[0]} is not executed by this version", expected="everything in main memory")
    return question.replace(techniques=tuple(_technique(t) for t in techniques or ()))


_NEUTRAL = {
    "tp": 1, "pp": 1, "dp": 1, "ep": 1, "cp": 1, "zero": 0, "optimizer": "adamw", "recompute": "none",
    "moe_load": "balanced",
}  # fmt: skip


def _technique(text: str) -> Any:
    from ..scenario.scenario import Technique

    name, _, rest = text.partition(":")
    pairs = tuple(tuple(p.partition("=")[::2]) for p in rest.split(",") if p)
    return Technique(name, pairs)  # type: ignore[arg-type]


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 110, soft_wrap=False)


@app.command()
def explain(
    model: Model,
    on: On = None,
    phase: Phase = None,
    batch: Batch = None,
    isl: Isl = None,
    osl: Osl = None,
    context: Context = None,
    dtype: Dtype = None,
    weights: Weights = None,
    activations: Activations = None,
    kv: Kv = None,
    tp: Tp = 1,
    pp: Pp = 1,
    dp: Dp = 1,
    ep: Ep = 1,
    cp: Cp = 1,
    zero: Zero = 0,
    stack: StackName = None,
    power: Power = None,
    inputs: Input = None,
    optimizer: Optimizer = "adamw",
    recompute: Recompute = "none",
    micro_batch: MicroBatch = None,
    moe_load: MoeLoad = "balanced",
    schedule: Schedule = None,
    offload: Offload = None,
    technique: Techniques = None,
    by: Annotated[str, typer.Option(help="Rows of the table: layer | op | kind")] = "op",
    save: Annotated[Path | None, typer.Option(help="Write the scenario to a file that explain replays.")] = None,
    json_to: Json = None,
    html: Annotated[Path | None, typer.Option(help="Write a self-contained page.")] = None,
    models: Models = None,
    machines: Machines = None,
) -> int:
    """How long it takes, why, and how far that is from the speed of light."""
    if by not in ("layer", "op", "kind"):
        raise BadInput(f"--by {by}", expected="layer, op or kind")
    question = _question(
        model,
        on,
        {
            "phase": phase, "batch": batch, "isl": isl, "osl": osl, "context": context, "dtype": dtype,
            "weights": weights, "activations": activations, "kv": kv, "tp": tp, "pp": pp, "dp": dp, "ep": ep, "cp": cp,
            "zero": zero, "stack": stack, "power": power, "inputs": inputs, "optimizer": optimizer,
            "recompute": recompute, "micro_batch": micro_batch, "moe_load": moe_load, "models_dir": models,
            "machines_dir": machines, "techniques": technique, "schedule": schedule, "offload": offload,
        },
    )  # fmt: skip
    from ..api import explain as ask

    answer = ask(question)
    levers: list[Any] = []
    if not answer.fits:
        from ..api import fit as ask_fit

        levers = ask_fit(question)["levers"]
    if save is not None:
        from ..scenario.file import save as keep

        keep(question, save)
    if html is not None:
        from .._foundation.files import write_atomically
        from ..report.html import explain_html

        write_atomically(html, explain_html(answer))
        print(f"wrote {html}", file=sys.stderr)
    if json_to is not None:
        emit_json({**answer.to_dict(), "levers": levers}, json_to)
    if json_to != "-":
        from ..report.text import render_explain

        _console().print(render_explain(answer, by=by))
    return 0 if answer.fits else 1


@app.command()
def fit(
    model: Model,
    on: On = None,
    phase: Phase = None,
    batch: Batch = None,
    isl: Isl = None,
    osl: Osl = None,
    context: Context = None,
    dtype: Dtype = None,
    weights: Weights = None,
    activations: Activations = None,
    kv: Kv = None,
    tp: Tp = 1,
    dp: Dp = 1,
    ep: Ep = 1,
    stack: StackName = None,
    inputs: Input = None,
    optimizer: Optimizer = "adamw",
    recompute: Recompute = "none",
    micro_batch: MicroBatch = None,
    json_to: Json = None,
    models: Models = None,
    machines: Machines = None,
) -> int:
    """Does it fit? Largest batch, context and number of users; exit code 1 if it does not."""
    question = _question(
        model,
        on,
        {
            "phase": phase, "batch": batch, "isl": isl, "osl": osl, "context": context, "dtype": dtype,
            "weights": weights, "activations": activations, "kv": kv, "tp": tp, "dp": dp, "ep": ep, "stack": stack,
            "inputs": inputs, "optimizer": optimizer, "recompute": recompute, "micro_batch": micro_batch,
            "models_dir": models, "machines_dir": machines,
        },
    )  # fmt: skip
    from .. import __version__
    from ..api import fit as ask

    answer = ask(question)
    if json_to is not None:
        emit_json({"schema": 1, "speedlight": __version__, **answer}, json_to)
    if json_to != "-":
        from ..report.text import render_fit

        _console().print(render_fit(answer))
    return 0 if answer["fits"] else 1


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(help="One or more models.")],
    on: Annotated[list[str], typer.Option("--on", "--system", help="Machine; repeatable.")],
    phase: Phase = None,
    batch: Batch = None,
    isl: Isl = None,
    osl: Osl = None,
    context: Context = None,
    dtype: Dtype = None,
    weights: Weights = None,
    activations: Activations = None,
    kv: Kv = None,
    tp: Tp = 1,
    dp: Dp = 1,
    ep: Ep = 1,
    stack: StackName = None,
    inputs: Input = None,
    json_to: Json = None,
    models_dir: Models = None,
    machines: Machines = None,
) -> int:
    """Models × machines in one ranked table."""
    from .. import __version__
    from ..api import compare as ask

    options = {
        "phase": phase, "batch": batch, "isl": isl, "osl": osl, "context": context, "dtype": dtype, "weights": weights,
        "activations": activations, "kv": kv, "tp": tp, "dp": dp, "ep": ep, "stack": stack, "inputs": inputs or (),
        "models_dir": models_dir, "machines_dir": machines,
    }  # fmt: skip
    answers = ask(models, on, **{k: v for k, v in options.items() if v is not None})
    if json_to is not None:
        emit_json({"schema": 1, "speedlight": __version__, "rows": [a.to_dict(ops=False) for a in answers]}, json_to)
    if json_to != "-":
        from ..report.text import render_compare

        _console().print(render_compare(answers))
    return 0


@app.command()
def devices(
    pattern: Annotated[str, typer.Argument(help="Only ids, names or vendors that contain this.")] = "",
    json_to: Json = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a machine file.")] = False,
) -> int:
    """Machines in the catalogue."""
    from .listing import device_rows

    if schema:
        from ..hardware.spec import json_schema

        emit_json(json_schema(), "-")
        return 0
    rows = device_rows(pattern)
    if not rows:
        raise BadInput(f"no machine matches {pattern!r}", hint="`speedlight devices` lists all")
    if json_to is not None:
        from .. import __version__

        emit_json({"schema": 1, "speedlight": __version__, "devices": rows}, json_to)
    if json_to != "-":
        from ..report.text import render_devices

        _console().print(render_devices(rows))
    return 0


@app.command("models")
def list_models(
    pattern: Annotated[str, typer.Argument(help="Only ids that contain this.")] = "",
    json_to: Json = None,
) -> int:
    """Bundled models, ready offline."""
    from .listing import model_rows

    rows = model_rows(pattern)
    if not rows:
        raise BadInput(f"no bundled model matches {pattern!r}", hint="`speedlight models` lists all")
    if json_to is not None:
        from .. import __version__

        emit_json({"schema": 1, "speedlight": __version__, "models": rows}, json_to)
    if json_to != "-":
        from ..report.text import render_models

        _console().print(render_models(rows))
    return 0


@app.command()
def validate(
    table: Annotated[Path, typer.Argument(help="Measured table (.parquet, .csv, .csv.gz).")],
    suite: Annotated[str | None, typer.Option(help="Rules to use; by file name or columns if left out.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Write every row with its predictions (Parquet).")] = None,
    bar: Annotated[list[str] | None, typer.Option("--bar", help="COLUMN:METRIC=VALUE; repeatable; exit 1 if missed.")] = None,
    json_to: Json = None,
) -> int:
    """Predictions beside measurements: error by device and format, rows below the limit."""
    from .. import __version__
    from ..validation.validate import parse_bar
    from ..validation.validate import validate as check

    result = check(table, suite=suite, predictions=predictions, bars=[parse_bar(b) for b in bar or ()])
    if json_to is not None:
        emit_json({"schema": 1, "speedlight": __version__, **result}, json_to)
    if json_to != "-":
        from ..report.validation import render_validation

        _console().print(render_validation(result))
    return 0 if result["passed"] else 1
