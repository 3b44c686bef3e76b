"""Listings and pictures of single cases in the run folder: written when a run is scored, read when it is reported."""

from __future__ import annotations

import csv
import io

from evalsuite.errors import OutputError
from evalsuite.record.canonical import read_json, write_json
from evalsuite.record.files import atomic_write
from evalsuite.spine.folder import RunFolder
from evalsuite.types import Exhibits, Listing, Picture

PICTURES_SCHEMA = "evalsuite/pictures/1"


def write_exhibits(folder: RunFolder, exhibits: Exhibits) -> None:
    """Write `arrays/NAME.csv` per listing and `arrays/pictures.json`; what an earlier scoring left there is replaced.

    OutputError if they cannot be written.
    """
    for path in (*folder.arrays.glob("*.csv"), folder.pictures):
        path.unlink(missing_ok=True)
    if not exhibits.listings and not exhibits.pictures:
        return
    try:
        folder.arrays.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder.arrays} cannot be made: {error.strerror}") from error
    for listing in exhibits.listings:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(listing.columns)
        writer.writerows(listing.rows)
        atomic_write(folder.arrays / f"{listing.name}.csv", text.getvalue().encode("utf-8"))
    if exhibits.pictures:
        write_json(folder.pictures, {"schema": PICTURES_SCHEMA, "pictures": [p.to_json() for p in exhibits.pictures]})


def read_exhibits(folder: RunFolder) -> Exhibits:
    """What `write_exhibits` wrote; nothing where there is nothing."""
    listings = []
    for path in sorted(folder.arrays.glob("*.csv")):
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
        listings.append(Listing(name=path.stem, columns=tuple(rows[0]), rows=tuple(map(tuple, rows[1:]))))
    found = read_json(folder.pictures)["pictures"] if folder.pictures.exists() else []
    return Exhibits(listings=tuple(listings), pictures=tuple(Picture.from_json(p) for p in found))
