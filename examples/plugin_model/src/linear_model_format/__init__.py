"""Linear classifiers as .npz files: a package format that evalsuite learns from this plugin.

Only the description of the format lives here, so that listing formats costs nothing; the loader is imported when a
package is opened.
"""

from __future__ import annotations

from evalsuite.models.formats import Loaded, Located, ModelFormat
from evalsuite.models.glance import Glance


def _recognise(glance: Glance) -> bool:
    """An .npz file is a zip file of arrays; ours has these two."""
    return {"weight.npy", "bias.npy"} <= set(glance.names or ())


def _load(located: Located, translate: bool) -> Loaded:
    from linear_model_format.network import load

    return load(located, translate=translate)


FORMAT = ModelFormat(
    name="linear-npz",
    what="linear classifier",
    files=".npz with weight and bias",
    executes="a matrix product with the arrays in the file; no code of the file",
    recognise=_recognise,
    load=_load,
)
