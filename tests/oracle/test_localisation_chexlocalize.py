"""Maps beside lesions on the published sample of CheXlocalize, as the product reports them.

Saporta et al., Nature Machine Intelligence 4:867-878 (2022); the sample's masks are in the COCO run-length format. The
expected overlap is the authors' own rule, |A ∩ B| / (|A| + |B| − |A ∩ B|), written out here.
"""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from evalsuite.analyses.lesion_maps import given_maps
from evalsuite.analyses.localisation import localisation_figures
from tests.unit.analyses.test_localisation import Files, asking
from tests.unit.stats.test_saliency import decoded


def png(mask: np.ndarray) -> bytes:
    out = io.BytesIO()
    Picture.fromarray(mask.astype(np.uint8) * 255).save(out, format="PNG", compress_level=1)
    return out.getvalue()


def test_overlaps_of_the_published_sample_are_those_of_its_authors_rule(shared_golden):
    maps, truth = (
        json.loads((shared_golden / f"chexlocalize_sample_{n}_rle.json").read_text()) for n in ("gradcam", "gt")
    )
    files: dict[str, bytes] = {}
    rows, expected = [], []
    for image in sorted(set(maps) & set(truth)):
        for finding in sorted(set(maps[image]) & set(truth[image])):
            a, b = decoded(maps[image][finding]), decoded(truth[image][finding])
            if not b.any():
                continue
            both = np.count_nonzero(a & b)
            expected.append(both / (np.count_nonzero(a) + np.count_nonzero(b) - both))
            k = len(rows)
            files |= {f"m{k}": png(a), f"l{k}": png(b)}
            rows.append({"truth": "1", "site": "a", "lesion": f"l{k}", "map": f"m{k}", "patient": image})
    frame = pd.DataFrame(rows)
    p = asking()
    cases = {"case_id": tuple(f"c{i}" for i in range(len(rows))), "patient_id": tuple(frame["patient"])}
    read = given_maps(p.analyses.interpretability.localisation, cases["case_id"], frame, Files(files), lambda case: {})
    results = localisation_figures(
        p, **cases, frame=frame, files=Files(files), read_maps=read, lies=lambda case, axes: None
    )
    found = {f.metric: f.estimate for f in results.findings}
    assert len(expected) >= 3
    assert found["localisation_iou"].value == pytest.approx(np.mean(expected), abs=1e-12)
    touching = [e for e in expected if e > 0.0]
    assert found["localisation_iou_true_positive"].value == pytest.approx(np.mean(touching), abs=1e-12)
    assert found["localisation_iou"].n == len(expected)
