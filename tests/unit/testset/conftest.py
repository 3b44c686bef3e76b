from __future__ import annotations

from pathlib import Path

import pytest
from testset_making import write_image, write_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four cases of three patients: two single images, one series of three files, one image outside the folder."""
    data = tmp_path / "data"
    write_image(data / "images" / "a.png", 1)
    write_image(data / "images" / "b.png", 2, size=3_000_000)
    for i in range(3):
        write_image(data / "series" / "s1" / f"{i}.bin", 10 + i)
    write_image(tmp_path / "elsewhere" / "d.png", 4)
    rows = [
        ("c1", "p1", "images/a.png", "s1", "0", "f", "H1"),
        ("c2", "p1", "./images/../images/b.png", "s2", "1", "m", "H2"),
        ("c3", "", "series/s1", "s3", "1", "", "H2"),
        ("c4", "p4", str(tmp_path / "elsewhere" / "d.png"), "s4", "0", "f", "H1"),
    ]
    names = ("case_id", "patient_id", "image", "study_id", "malignant", "sex", "site")
    return write_table(data, [dict(zip(names, row, strict=True)) for row in rows])
