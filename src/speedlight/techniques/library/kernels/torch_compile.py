"""A module handed to PyTorch's compiler: Inductor's loops and layouts in the place of a kernel for each call."""

from __future__ import annotations

from ....scenario.scenario import Scenario
from ....stacks.stack import stack_files
from ...subject import Subject
from ...technique import Edit, Refusal, Settings, Technique, register

EAGER, COMPILED = "torch-eager", "torch-compile"


def _compiled(subject: Subject, settings: Settings) -> Scenario:
    version = subject.stack.version
    known = any(version == found for found, _ in stack_files()[COMPILED])
    return subject.scenario.with_program(stack=f"{COMPILED}@{version}" if known else COMPILED)


def _eager(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.stack.name == EAGER:
        return None
    if subject.stack.name.startswith(COMPILED):
        return Refusal(f"{subject.stack.name} compiles already")
    return Refusal(
        f"{subject.stack.name} does not run a module's calls one by one", "operator-fusion, or --stack torch-eager"
    )


TORCH_COMPILE = register(Technique(
    name="torch-compile",
    title="torch.compile (TorchDynamo and Inductor)",
    family="kernels",
    mechanism="what lies between products becomes generated loops, convolutions run channels last, and one compiled call takes the place of the host's many",
    citation="Ansel et al., PyTorch 2, ASPLOS 2024",
    edits=(Edit("stack", "stack.loops", _compiled),),
    refuse=_eager,
    exact=True,
))  # fmt: skip
