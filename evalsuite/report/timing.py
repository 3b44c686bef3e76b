"""How long the model took and what it was compared with, in words: rate, latency of a case, time by stage."""

from __future__ import annotations

from collections.abc import Mapping

from evalsuite.report.format import format_count, format_number
from evalsuite.report.material import Material
from evalsuite.report.text import clean
from evalsuite.report.view import Item

_STAGES = (
    ("read_decode_s", "reading and decoding"),
    ("wait_s", "waiting for images"),
    ("copy_s", "copying to the device"),
    ("predict_s", "the model"),
    ("store_s", "storing"),
)
_PERCENTILES = (("p50", "median"), ("p95", "95th percentile"), ("p99", "99th percentile"))


def timing(m: Material) -> list[Item]:
    """Throughput, latency and stages as recorded, and the comparison that admitted another precision or backend."""
    items = [Item(name="Throughput", value=_throughput(m))]
    latency = m.recorded("inference.latency_ms")
    if isinstance(latency, Mapping):
        said = [f"{format_number(latency[k], 1)} ms ({word})" for k, word in _PERCENTILES if _number(latency.get(k))]
        items.append(
            Item(
                name="Latency of a case",
                value=f"{', '.join(said)}: reading and decoding it, then the model for its whole batch",
            )
        )
    stages = m.recorded("inference.stages")
    if isinstance(stages, Mapping):
        said = [f"{word} {float(stages[k]):.2f} s" for k, word in _STAGES if _number(stages.get(k))]
        items.append(
            Item(
                name="Time by stage",
                value=f"{', '.join(said)}; stages overlap, and each adds up over its threads and workers",
            )
        )
    if _number(hits := m.recorded("inference.cache.hits")) and hits:
        items.append(
            Item(
                name="Decoded images",
                value=f"{format_count(int(hits))} came from a cache of decoded images, which shortens the latency "
                "and changes no result",
            )
        )
    return [*items, *_equivalence(m)]


def _equivalence(m: Material) -> list[Item]:
    found = m.recorded("inference.equivalence")
    if not isinstance(found, Mapping):
        return []
    flips = found.get("flips")
    turned = ""
    if isinstance(flips, Mapping) and flips:
        counted = ", ".join(f"{format_count(int(n))} at {clean(name)}" for name, n in flips.items())
        turned = f"; decisions turned round: {counted}"
    return [
        Item(
            name="Equivalence",
            value=f"outputs differ from those of the model as packaged by at most "
            f"{_small(float(found['max_abs_difference']))} on {format_count(int(found['n']))} cases "
            f"(admitted: {_small(float(found['tolerance']))}){turned}",
        )
    ]


def _small(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-3 or value == 0 else f"{value * 1e6:.2g} × 10⁻⁶"


def _throughput(m: Material) -> str:
    rate, wall = m.recorded("inference.cases_per_s"), m.recorded("inference.wall_s")
    if not _number(rate) or not _number(wall):
        return "not recorded"
    workers = m.recorded("inference.workers", 1)
    by = f", by {format_count(workers)} workers" if isinstance(workers, int) and workers > 1 else ""
    return f"{format_number(rate, 1)} cases per second, {format_number(wall, 1)} s in all{by}"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
