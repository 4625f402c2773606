"""The run as JSON, and as a Markdown table of the same figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from worker.engine.bench.rows import BASELINE, Outcome, Row
from worker.engine.bench.sizes import FULL

SMOKE: Final = "CPU smoke, tiny sizes: no figure of speed."
SMOKE_ON_GPU: Final = "Not the whole model: ratios alone."
HEAD: Final = (
    "row",
    "steps, guidance",
    "levers",
    "total, s",
    "times plain",
    "text, s",
    "VAE in, s",
    "a step, s",
    "VAE out, s",
    "peak, GiB",
    "of the limit",
    "to plain's picture",
)
#: Of an exact row's picture, in 8-bit colours on average: bfloat16 keeps 8 bits, and each
#: step adds its rounding; float32 leaves none to see.
TOLERANCE: Final = {"cuda": 2.0, "cpu": 0.01}


def record(
    machine: Mapping[str, Any], about: Mapping[str, Any], rows: Sequence[Row]
) -> dict[str, Any]:
    """The whole of ``gpu.json``."""
    return {
        **about,
        "machine": dict(machine),
        "rows": [row.as_record() for row in rows],
        "targets": targets(rows, about),
    }


def targets(rows: Sequence[Row], about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was to be reached, and whether it was; on tiny sizes only whether pictures agree."""
    found = {row.name: row for row in rows if row.outcome is Outcome.MEASURED}
    exact = [row for row in found.values() if row.exact and row.distance is not None]
    most = TOLERANCE[about["kind"]]
    verdicts = [
        _verdict(f"{row.name}: mean distance <= {most:g} of 255", row.distance["mean"], most=most)
        for row in exact
        if row.distance is not None
    ]
    if about["architecture"] != "full":
        return verdicts
    whole = FULL.row.profiles[0].steps
    ratios = [row.times_baseline or 0.0 for row in exact if row.steps == whole]
    if ratios:
        verdicts.append(_verdict("quality: >= 1.6 times plain", max(ratios), least=1.6))
    if "fast" in found:
        verdicts.append(_verdict("fast: <= 1.8 s", found["fast"].seconds["total"], most=1.8))
    if "low-memory" in found:
        gigabytes = found["low-memory"].peak_gib["reserved"] * 1.024**3
        verdicts.append(_verdict("low-memory: <= 6.5 GB", gigabytes, most=6.5))
    return verdicts


def _verdict(
    what: str, value: float, *, least: float | None = None, most: float | None = None
) -> dict[str, Any]:
    reached = (least is None or value >= least) and (most is None or value <= most)
    return {"what": what, "value": value, "reached": reached}


def write(out: Path, content: Mapping[str, Any]) -> None:
    """``out`` and the table beside it; whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in (
        (out, json.dumps(content, indent=2) + "\n"),
        (out.with_suffix(".md"), markdown(content)),
    ):
        draft = path.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)


def markdown(content: Mapping[str, Any]) -> str:
    lines = [*_title(content), "", _line(HEAD), _line(["---"] * len(HEAD))]
    lines += [_line(_cells(row)) for row in content["rows"]]
    if content["targets"]:
        lines.append("")
    for one in content["targets"]:
        reached = "reached" if one["reached"] else "NOT reached"
        lines.append(f"- {one['what']}: {reached} ({one['value']:.3g})")
    return "\n".join(lines) + "\n"


def _title(content: Mapping[str, Any]) -> list[str]:
    machine = content["machine"]
    packages = ", ".join(f"{name} {one}" for name, one in machine["packages"].items() if one)
    where = f"{machine['device']}, driver: {machine['driver'] or 'none'}; {packages}"
    when = f"Python {machine['python']}; {machine['date']}; `{content['command']}`"
    limit = f"The card's limit: {content['ceiling_tflops']:.3g} TFLOP/s in {content['dtype']}"
    what = f"Pictures: {content['pictures']} of {content['side']} x {content['side']}"
    took = f"Weights: random.  Took {content['took_s']:.0f} s"
    lines = [f"{where}; {when}.", "", f"{limit}.  {what}.  {took}."]
    if content["architecture"] == "full":
        return lines
    return [f"**{SMOKE if content['kind'] == 'cpu' else SMOKE_ON_GPU}**", "", *lines]


def _cells(row: Mapping[str, Any]) -> list[str]:
    plan = f"{row['steps']}, {row['guidance']:g}"
    if row["outcome"] != Outcome.MEASURED:
        return [row["name"], plan, f"{row['outcome']}: {row['why']}", *["–"] * (len(HEAD) - 3)]
    seconds, distance = row["seconds"], row["distance"]
    limit = row["work"]["of_limit"]
    return [
        row["name"],
        plan,
        _levers(row),
        _short(seconds["total"]),
        "1" if row["name"] == BASELINE else _short(row["times_baseline"]),
        *(_short(seconds[one]) for one in ("text_encode", "vae_encode", "step", "vae_decode")),
        _short(row["peak_gib"].get("reserved")),
        "–" if row["levers"]["step_cache"] else f"{limit:.1%}",
        f"{distance['psnr_db']:.1f} dB, mean {distance['mean']:.2g}" if distance else "–",
    ]


def _levers(row: Mapping[str, Any]) -> str:
    levers = row["levers"]
    words = [row["placement"]]
    words += [f"{levers['locked_gib']:.1f} GiB locked"] if levers["locked_gib"] else []
    words += [levers["precision"]] if levers["precision"] != "bf16" else []
    words += [levers["attention"]] if levers["attention"] != "native" else []
    words += [name for name in ("compiled", "autotuned", "flat_vae") if levers[name]]
    words += [f"step cache {levers['step_cache']:g}"] if levers["step_cache"] else []
    return ", ".join(words)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
