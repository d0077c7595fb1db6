"""The public verbs: ``explain``, ``fit``, ``compare``, ``simulate``; the command line and notebooks call nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._foundation.errors import BadInput
from .engine.answers.prediction import Prediction
from .engine.questions.question import make_scenario
from .scenario.scenario import Scenario
from .schedule.trace import Trace

if TYPE_CHECKING:
    from .engine.cut import Cuts
    from .engine.post_training.loop import LoopAnswer
    from .engine.serving.simulate import Answer
    from .techniques.whatif import Ranking

__all__ = [
    "compare", "cuts", "diagnose", "explain", "fit", "make_scenario", "post_training", "ranked", "simulate", "timeline", "whatif",
]  # fmt: skip


def explain(model: str | Scenario, machine: str | None = None, **options: Any) -> Prediction:
    """How long it takes, why, and how far that is from the speed of light.

    Args:
        model: as in :func:`make_scenario`, or a whole :class:`Scenario`.
        machine: required unless a scenario is given.
        options: as in :func:`make_scenario`; ``techniques``: labels like ``weight-only-int:bits=3``.

    Returns:
        a frozen :class:`Prediction` (``.to_dict()``, ``.to_pandas()``, notebook view).

    Raises:
        SpeedlightError: for input that cannot be used; what does not fit is an answer (``.fits``).

    Example:
        >>> import speedlight
        >>> p = speedlight.explain("llama-3.1-8b", "h100-sxm-80gb", phase="decode")
        >>> p.bound
        'hbm'
    """
    question = _question(model, machine, options)
    if question.techniques:
        from .techniques.compose import ask

        return ask(question)
    from .engine.predict import predict

    return predict(question)


def whatif(
    model: str | Scenario, machine: str | None = None, *, names: Sequence[str] = (), families: Sequence[str] = (), sizes: int = 1,
    settings: bool = False, **options: Any,
) -> Ranking:  # fmt: skip
    """Every published technique on a question, ranked by the gain the engine derives there.

    Args:
        model, machine, options: as in :func:`explain`.
        names, families, sizes, settings: as in :func:`speedlight.techniques.whatif.whatif`.
    """
    from .techniques.whatif import whatif as rank

    return rank(_question(model, machine, options), names=names, families=families, sizes=sizes, settings=settings)


def timeline(model: str | Scenario, machine: str | None = None, **options: Any) -> Trace:
    """What runs when in one call, span by span; ``report.chrome.chrome_json`` makes the file that Perfetto loads of it.

    Raises:
        BadInput: for a sweep: a timeline draws one question.
    """
    from .engine.answers.timeline import timeline as draw

    return draw(_edited(_question(model, machine, options)))


def cuts(
    model: str | Scenario, machine: str | None = None, *, before: str | Sequence[str], links: str | Sequence[str], back: str = "",
    **options: Any,
) -> Cuts:  # fmt: skip
    """A network cut between machines of their own: every place, priced in one call.

    Args:
        model, options: as in :func:`explain`, of one forward pass, prefill or decode step.
        machine: what has the end of the network.
        before: what has its beginning, or several machines in the order of the work; ``iphone-13#2`` is another one of the same.
        links: the way from each machine to the next: ``100 Mbit/s``, ``100 Mbit/s + 5 ms``, or a link of the machine before it.
        back: the way of the results to whoever asked; where they stay if empty.

    Example:
        >>> import speedlight
        >>> found = speedlight.cuts("resnet50", "rtx-4090", before="jetson-orin-nano-8gb", links="100 Mbit/s")
        >>> found.names[found.best("latency")]
        'the end'
    """
    from .engine.cut import cuts as search
    from .engine.programs.cuts import hop_of

    ways = [links] if isinstance(links, str) else links
    ahead = [before] if isinstance(before, str) else before
    asked = _edited(_question(model, machine, options))
    return search(asked, ahead, [hop_of(way) for way in ways], hop_of(back) if back else None)


def fit(model: str | Scenario, machine: str | None = None, **options: Any) -> dict[str, Any]:
    """Whether it fits, by how much, and the largest batch, context and number of users (CONTRACT's fit object)."""
    from .engine.answers.fit import fit as answer

    return answer(_edited(_question(model, machine, options)))


def simulate(
    model: str | Scenario, machine: str | None = None, *, slo: str = "", curve: int = 0, **options: Any
) -> Answer:
    """What users of a serving deployment see under a load: TTFT, TPOT, throughput, queues.

    Args:
        model, machine: as in :func:`explain`; the sizes are the load's.
        slo: objectives, like ``ttft:p95<2s,tpot:p95<50ms``: the answer says whether they hold, at this load and up to which rate.
        curve: so many rates for a load–latency curve.
        options: of :class:`speedlight.scenario.serving.Load` (``rate``, ``concurrency``, ``arrivals``, ``isl``, ``osl`` …), of
            :class:`speedlight.scenario.serving.Engines` (``replicas``, ``policy``, ``max_seqs`` …) and of :func:`make_scenario`.

    Example:
        >>> import speedlight
        >>> answer = speedlight.simulate("llama-3.1-8b", "h100-sxm-80gb", rate=4, isl=512, osl=64, requests=200)
        >>> answer.metrics["finished"]
        200
    """
    from .engine.serving.simulate import answer, asked, with_curve
    from .serving.metrics import parse_slo

    serving, rest = asked(options)
    if not isinstance(model, Scenario):
        rest["phase"] = "decode"
    question = _question(model, machine, rest)
    if options or question.serving is None:
        question = question.replace(serving=serving)
    found = answer(_edited(question), parse_slo(slo) if slo else ())
    return with_curve(found, points=curve) if curve else found


def post_training(model: str, machine: str, **options: Any) -> LoopAnswer:
    """One iteration of a post-training loop: rollout, passes over the samples, training, weights back (docs/post-training.md).

    Args:
        model, machine, options: as :func:`speedlight.engine.post_training.question.loop_of` has them: ``prompts``, ``samples``,
            ``train={"batch": 512, "dp": 8, "zero": 3}``, ``judges``, ``split``, ``lag`` …, and those of :func:`simulate` for the rollout.

    Example:
        >>> import speedlight
        >>> found = speedlight.post_training("llama-3.1-8b", "dgx-h100", prompts=8, samples=4, isl=128, osl=64, replicas=8,
        ...                                  train={"batch": 32, "dp": 8, "zero": 3, "micro_batch": 1})
        >>> found.updates
        1
    """
    from .engine.post_training.loop import iteration
    from .engine.post_training.question import loop_of

    return iteration(loop_of(model, machine, **options))


def compare(models: Sequence[str], machines: Sequence[str], **options: Any) -> list[Prediction]:
    """Every model on every machine, fastest first within a model."""
    return ranked([[make_scenario(model, machine, **options) for machine in machines] for model in models])


def ranked(questions: Sequence[Sequence[Scenario]]) -> list[Prediction]:
    """The answers to each row of questions, fastest first within a row."""
    return [p for row in questions for p in sorted(map(explain, row), key=lambda p: float(p.time))]


def _question(model: str | Scenario, machine: str | None, options: Mapping[str, Any]) -> Scenario:
    if isinstance(model, Scenario):
        if options:
            raise BadInput("a scenario is given together with options", expected="one of the two")
        return model if machine is None else model.replace(machine=machine)
    if machine is None:
        raise BadInput("no machine is given", expected="a machine id", hint="`speedlight devices` lists them")
    techniques = options.pop("techniques", ()) if isinstance(options, dict) else ()
    question = make_scenario(model, machine, **options)
    if not techniques:
        return question
    from .techniques.compose import parsed

    return question.replace(techniques=tuple(parsed(label) for label in techniques))


def _edited(question: Scenario) -> Scenario:
    """The question with its techniques carried out."""
    if not question.techniques:
        return question
    from .techniques.compose import applied

    return applied(question)


def diagnose(
    files: str | Path | Sequence[str | Path], machine: str, *, model: str | Scenario | None = None,
    against: str | Path | None = None, stack: str = "torch-eager", **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Why a recorded run is as slow as it is: a trace of ``torch.profiler``, ranks of one job, an export of Nsight Systems, or
    a result of ``vllm bench serve`` (docs/diagnose.md).

    Args:
        files: a file, several (one of each rank), or a folder of them.
        machine: what it ran on.
        model: what ran, to set the whole step beside its prediction; needed for a server's benchmark. ``options`` say how, as
            in :func:`make_scenario`.
        against: an earlier trace to compare with.
        stack: whose kernels are expected of the machine.

    Raises:
        BadFile: for files that are no such traces. Nothing in them is executed.
    """
    from .engine.measured.trace import diagnose_files

    question = None if model is None else _question(model, None if isinstance(model, Scenario) else machine, options)
    paths = [Path(f) for f in ([files] if isinstance(files, (str, Path)) else files)]
    return diagnose_files(paths, machine, question, None if against is None else Path(against), stack)
