"""The same question on another sort of machine: in-memory, wafer-scale, dataflow, FPGA."""

from __future__ import annotations

from collections.abc import Callable

from ....scenario.scenario import Scenario
from ...edits import with_parallel
from ...subject import Subject
from ...technique import Edit, Parameter, Refusal, Settings, Technique, register


def _instead(subject: Subject, settings: Settings) -> Scenario:
    moved = subject.scenario.replace(machine=settings["machine"], overrides={})
    return with_parallel(Subject(moved), tp=settings["devices"])


def _refuse(subject: Subject, settings: Settings) -> Refusal | None:
    if subject.phase == "train":
        return Refusal("a training step's layout belongs to its machine", "--on the other machine")
    if subject.workload.places:
        return Refusal("what is kept outside belongs to the machine asked about", "leave out --offload")
    if subject.program.stack is not None:
        return Refusal("the stack named belongs to the machine asked about", "leave out --stack")
    return None


def _substitution(
    name: str, title: str, mechanism: str, machine: str, papers: tuple[str, ...], citation: str
) -> Technique:
    edits: tuple[Callable[[Subject, Settings], Scenario], ...] = (_instead,)
    return register(Technique(
        name=name, title=title, family="hardware", mechanism=mechanism, papers=papers, citation=citation,
        parameters=(
            Parameter("machine", machine, "id of the machine"), Parameter("devices", 1, "of it, in tensor parallel", low=1),
        ),
        edits=tuple(Edit("machine", "machine", change) for change in edits),
        refuse=_refuse,
        whatif=False,
    ))  # fmt: skip


PIM = _substitution(
    "in-memory-machine", "Processing in memory (PIM-GPT)",
    "matrix-vector products run in the banks that hold the weights; a small chip does the rest",
    "gddr6-aim-8ch", ("pim-gpt",), "PIM-GPT, arXiv 2310.09385",
)  # fmt: skip
WAFER = _substitution(
    "wafer-scale-machine", "A wafer-scale engine", "weights and caches in SRAM beside the cores, no memory off the chip",
    "wse-2", ("hardwired-neurons-language-processing-units-as-general-purpo",), "Cerebras WSE-2",
)  # fmt: skip
DATAFLOW = _substitution(
    "dataflow-machine", "A reconfigurable dataflow unit (SN40L)",
    "ops of a region stream into each other on the chip: no launches and no intermediate bytes between them",
    "sn40l", ("sambanova-sn40l", "ssm-rdu"), "SambaNova SN40L, arXiv 2405.07518",
)  # fmt: skip
FPGA = _substitution(
    "fpga-machine", "An FPGA accelerator", "a design of its own behind DDR or HBM at a fraction of a GPU's rates and power",
    "alveo-u280", ("swat", "intar"), "AMD Alveo U280; SWAT, arXiv 2405.17025; InTAR, arXiv 2502.08807",
)  # fmt: skip
