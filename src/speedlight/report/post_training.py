"""A post-training iteration as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._foundation.quantity import format_percent, format_time

if TYPE_CHECKING:
    from ..engine.post_training.loop import LoopAnswer


def render_loop(found: LoopAnswer) -> str:
    """Parts of an iteration, what it makes, which side waits."""
    loop, parts = found.loop, found.parts
    where = "split" if loop.split else "colocated"
    lag = ", rollout one iteration behind" if loop.lag else ""
    requests = found.served.run.requests
    lines = [
        f"{found.served.facts['model']['id']}, post-training, {where}{lag}: {found.devices['all']} devices "
        f"({found.devices['rollout']} rollout, {found.devices['trainer']} trainer)",
        f"{loop.prompts} prompts × {loop.samples} samples, {requests.prompt.mean():,.0f} → {requests.output.mean():,.0f} tokens; "
        f"{found.updates} updates",
        "",
        f"   iteration  {format_time(found.time):>8}",
        f"     rollout  {format_time(parts['rollout']):>8}  {format_percent(found.tail)} of it with more than half of the samples done",
    ]
    for name, seconds in found.passes.items():
        lines.append(f"{name:>12}  {format_time(seconds):>8}")
    lines.append(f"    training  {format_time(parts['training']):>8}  {format_time(float(found.step.time))} an update")
    lines.append(f" weight sync  {format_time(parts['sync']):>8}")
    if parts["swap"]:
        lines.append(f" states moved {format_time(parts['swap']):>8}  to the host and back")
    lines += ["", f"{found.samples_per_second:,.3g} samples/s, {found.tokens_per_second:,.0f} tokens/s, "
                  f"{found.tokens_per_second / found.devices['all']:,.0f} a device"]  # fmt: skip
    if loop.split:
        busy = found.busy
        lines.append(f"busy: rollout {format_percent(busy['rollout'])}, trainer {format_percent(busy['trainer'])}")
    if loop.lag:
        lines.append(
            "samples trained on come from the weights before the last update; what that does to quality is not predicted"
        )
    return "\n".join(lines)
