"""A whole training run in a few lines of text."""

from __future__ import annotations

from .._foundation.quantity import format_percent
from ..engine.training.runs import HOUR, RunAnswer


def run_lines(answer: RunAnswer) -> list[str]:
    """What a run takes and where its time goes; numbers, no sweeps."""
    lost = ", ".join(
        f"{name} {format_percent(float(share))}" for name, share in answer.lost.items() if float(share) >= 5e-4
    )
    lines = [
        f"the run: {float(answer.days):,.1f} days for {float(answer.steps):,.0f} steps, {float(answer.device_hours):,.0f} device-hours"
        + ("" if answer.usd is None else f", {float(answer.usd):,.0f} dollars"),
        f"goodput {format_percent(float(answer.goodput))}" + (f" (lost: {lost})" if lost else ""),
    ]
    if float(answer.failures) > 0:
        lines.append(
            f"{float(answer.failures):,.0f} failures expected, one in {float(answer.between_s) / HOUR:,.1f} h; a checkpoint every "
            f"{float(answer.every_s) / 60:,.0f} min stops the job for {float(answer.checkpoint_s):,.1f} s"
        )
    return lines
