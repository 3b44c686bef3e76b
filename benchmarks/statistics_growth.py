"""How the cost of the bootstrap grows, drawn: three panels from the measurements of benchmarks/statistics.py.

python -P benchmarks/statistics_growth.py MEASURED.json benchmarks/results/statistics_growth.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PANELS = (("cases", "cases"), ("strata", "strata"), ("replicates", "replicates"))


def main(measured: Path, out: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot as plt

    rows = json.loads(measured.read_text(encoding="utf-8"))
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
    for axis, (name, label) in zip(axes, PANELS, strict=True):
        mine = sorted((r for r in rows if r["panel"] == name), key=lambda r: r[name])
        held = [f"{mine[0][other]:,} {other}" for other, _ in PANELS if other != name]
        at = [r[name] for r in mine]
        axis.plot(at, [r["cpu"] for r in mine], "o-", color="#1f4e79", label="CPU seconds")
        axis.plot(at, [r["wall"] for r in mine], "s--", color="#b4541a", label="wall seconds")
        # In proportion to the last point: what linear growth would look like.
        axis.plot(at, [mine[-1]["cpu"] * x / at[-1] for x in at], ":", color="0.6", label="in proportion")
        axis.set(xscale="log", yscale="log", xlabel=label, title=", ".join(held))
        axis.set_xticks(at, [f"{x:,}" for x in at])
        axis.minorticks_off()
        axis.grid(True, which="major", color="0.9")
    axes[0].set_ylabel("seconds")
    axes[0].legend(frameon=False)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
