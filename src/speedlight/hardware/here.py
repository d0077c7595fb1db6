"""The machine this runs on, as far as the operating system and the driver tell.

Nothing is timed here: counts and sizes are what the kernel reports, peaks follow from them (core count, vector width,
clock), and what nobody reports, first of all the memory's bandwidth, is a guess that says so. ``speedlight measure``
replaces guesses by measurements. Whatever cannot be read is left to a default with a note: describing never fails.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .here_gpus import gpu_machine
from .here_processor import processor_machine
from .here_reading import read_cpu
from .machine import Machine


def describe(root: str | Path = "/") -> Machine:
    """This machine: its NVIDIA GPUs where the driver's library finds any, else its processor.

    Args:
        root: where ``proc`` and ``sys`` are looked for (tests and containers mount them elsewhere).

    Returns:
        A machine with the id ``here``. Figures reported by the kernel or driver are graded measured, peaks derived,
        guesses assumed; ``notes`` says what could not be read. It never raises for what is missing.
    """
    cpu = read_cpu(Path(root))
    processor = processor_machine(cpu)
    try:
        gpus = gpu_machine(processor)
    except Exception as error:  # a driver may fail in ways no list of exceptions holds
        note = f"the GPU driver could not be asked ({type(error).__name__}: {error}); only the processor is described"
        return dataclasses.replace(processor, notes=(*processor.notes, note))
    return gpus or processor
