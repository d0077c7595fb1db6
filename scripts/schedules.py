"""Draw ``docs/img/schedules/*.svg``: every pipeline schedule, 4 ranks and 8 micro-batches, as the code runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from speedlight.report.gantt import gantt
from speedlight.report.svg import SVG_NAMESPACE, element, short
from speedlight.schedule.drawn import pipeline_trace
from speedlight.schedule.pipeline import PipelineRun, StageClass

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "img" / "schedules"

WHOLE = StageClass(4, 1.0, 2.0)  # backward passes take twice as long
SPLIT = StageClass(4, 1.0, 1.0, 1.0)  # the same, in two parts
HALVES = StageClass(8, 0.5, 1.0)
SPLIT_HALVES = StageClass(8, 0.5, 0.5, 0.5)

RUNS = {
    "gpipe": PipelineRun((WHOLE,), 8, "gpipe"),
    "1f1b": PipelineRun((WHOLE,), 8, "1f1b"),
    "1f1b-messages": PipelineRun((WHOLE,), 8, "1f1b", send_s=0.5),
    "interleaved": PipelineRun((HALVES,), 8, "interleaved:2"),
    "zb-h1": PipelineRun((SPLIT,), 8, "zb-h1"),
    "zb-h2": PipelineRun((SPLIT,), 8, "zb-h2"),
    "zb-v": PipelineRun((SPLIT_HALVES,), 8, "zb-v"),
    "chimera": PipelineRun((WHOLE,), 8, "chimera"),
    "vocabulary": PipelineRun((StageClass(4, 1.0, 2.0, 0.0, 0.5),), 8, "vocabulary"),
}


def drawings() -> Iterator[tuple[str, str]]:
    """(file name, SVG) of every schedule."""
    for name, run in RUNS.items():
        trace = pipeline_trace(run)
        links = tuple({t.name for t in trace.tracks}) if run.send_s else ("compute",)
        picture = gantt(trace, tracks=links, label=f"{name}: what every rank does when")
        size = {"width": picture.width, "height": picture.height}
        made = element(
            "svg", picture.body, xmlns=SVG_NAMESPACE, viewBox=f"0 0 {short(picture.width)} {short(picture.height)}",
            font_family="sans-serif", role="img", aria_label=picture.label, **size,
        )  # fmt: skip
        yield f"{name}.svg", f"{made}\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, svg in drawings():
        (FOLDER / file).write_text(svg, encoding="utf-8")
        print(f"{file}: {len(svg):,} bytes")
