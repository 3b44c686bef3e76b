"""Where the shards of a run are computed: in this process, or by workers on the machines of a cluster.

A runner decides where, never what: shard names, shard contents and every byte of the evidence are the same whichever
computes them. The driver alone stores shards and alone tries again; a shard may be computed twice, and counts once.
"""

from evalsuite.inference.runners.base import Answer, Facts, Lease, Outcome, Predictor, Runner, Work, Workers

__all__ = ["Answer", "Workers", "Facts", "Lease", "Outcome", "Predictor", "Runner", "Work"]
