"""`evalsuite lock`: seal a test set, after everything that is odd about it has been said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from evalsuite.cli import keys, show
from evalsuite.cli.console import emit_json, errors_as_exit_codes, stages
from evalsuite.cli.grouped import grouped
from evalsuite.cli.options import Acting, Json, ReferenceKeyFile
from evalsuite.errors import InputError

_FILE = "a CSV or Parquet table"


@grouped
def lock(
    *,
    cases: Annotated[Path, typer.Argument(help="case table, CSV or Parquet")],
    out: Annotated[Path, typer.Option("--out", help="folder of the locked set")],
    reference: Annotated[str | None, typer.Option("--reference", help="columns to seal, separated by commas")] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", help="a protocol that names the columns")] = None,
    copy: Annotated[bool, typer.Option("--copy", help="copy the images into the set")] = False,
    case_column: Annotated[str | None, typer.Option("--case-column", help="column of the case identifiers")] = None,
    patient_column: Annotated[
        str | None, typer.Option("--patient-column", help="column of the patient identifiers")
    ] = None,
    version: Annotated[str, typer.Option("--version", help="version of the set")] = "1",
    set_id: Annotated[str | None, typer.Option("--id", help="name of the set; by default the folder's")] = None,
    development: Annotated[
        Path | None,
        typer.Option("--development", help="patients, UIDs or digests used in development: " + _FILE),
    ] = None,
    decode_check: Annotated[
        Literal["auto", "none", "sample", "all"],
        typer.Option("--decode-check", help="images to decode; auto: all up to 1 GB, else 200 evenly spread"),
    ] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="refuse images that cannot be decoded and cases shared with development")
    ] = False,
    supersedes: Annotated[
        Path | None, typer.Option("--supersedes", metavar="OLDSET", help="the version this one replaces")
    ] = None,
    retire: Annotated[
        Path | None, typer.Option("--retire", help="cases no longer evaluated, with a reason each: " + _FILE)
    ] = None,
    draw: Annotated[
        int | None, typer.Option("--draw", metavar="N", min=1, help="lock N cases drawn at random, patients whole")
    ] = None,
    draw_seed: Annotated[int | None, typer.Option("--draw-seed", help="seed of the draw; recorded")] = None,
    draw_by: Annotated[
        str | None, typer.Option("--draw-by", metavar="COLUMN", help="keep the shares of this column's groups")
    ] = None,
    encrypt_reference: Annotated[
        bool, typer.Option("--encrypt-reference", help="encrypt the reference standard with --reference-key")
    ] = False,
    reference_key: ReferenceKeyFile = None,
    acting: Acting,
    as_json: Json = False,
) -> None:
    """Seal a test set: digests of every file, the rows and the reference standard; intake checks listed at once."""
    with errors_as_exit_codes(as_json=as_json), stages() as on_stage:
        from evalsuite.spine import lock as lock_set
        from evalsuite.testset import Draw, IntakeOptions

        if (draw is None) != (draw_seed is None) or (draw is None and draw_by is not None):
            raise InputError(
                "A draw needs --draw and --draw-seed",
                hint="For example: --draw 500 --draw-seed 2026 --draw-by site",
            )
        drawn = Draw(n=draw, seed=draw_seed, by=draw_by) if draw is not None and draw_seed is not None else None
        testset = lock_set(
            cases,
            out=out,
            reference=None if reference is None else [c.strip() for c in reference.split(",") if c.strip()],
            protocol=protocol,
            copy=copy,
            case_column=case_column,
            patient_column=patient_column,
            version=version,
            set_id=set_id,
            intake=IntakeOptions(decode=decode_check, strict=strict, development=development),
            draw=drawn,
            retire=retire,
            supersedes=supersedes,
            who=acting.who(role="custodian"),
            reference_key=keys.reference_key_to_lock(reference_key, wanted=encrypt_reference),
            store=acting.store,
            on_progress=lambda done, total: on_stage("lock", done, total),
        )
    with errors_as_exit_codes(as_json=as_json):
        from evalsuite.testset import read_intake

        intake = read_intake(testset)
        if as_json:
            emit_json({**show.testset_facts(testset), "path": str(out), "intake": intake, "exit_code": 0})
        else:
            show.locked(testset, out, intake)
