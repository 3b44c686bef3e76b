"""A study whose images lie in an S3 object store: the same bytes as from a folder, and a changed object is named.

Run by `make object-store`, with an interpreter that has s3fs and moto's server (an S3 interface on this machine's own
loopback; nothing leaves it). Prints one line per check, and ends with 1 if one of them does not hold.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.campaigns.packaged_study import PackagedStudy, make_packaged_study
from tests.campaigns.study import COMMAND

_CASES = 200
_BUCKET = "hospital/study"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="evalsuite-store-") as scratch, _server(Path(scratch)):
        checks = _campaign(make_packaged_study(Path(scratch) / "study", cases=_CASES, loops=1))
    for what, holds in checks:
        print(f"{'yes' if holds else 'NO '}  {what}")
    return int(not all(holds for _, holds in checks))


def _campaign(study: PackagedStudy) -> list[tuple[str, bool]]:
    import s3fs  # type: ignore[import-not-found, unused-ignore]

    _ask(*study.lock(), "--copy")
    here = _ask(*study.run("here"))
    store: Any = s3fs.S3FileSystem()
    store.mkdir(_BUCKET.partition("/")[0])
    store.put(str(study.testset / "files"), _BUCKET, recursive=True)
    shutil.rmtree(study.testset / "files")
    place = {"schema": "evalsuite/location/1", "root": f"s3://{_BUCKET}"}
    (study.testset / "location.json").write_text(json.dumps(place))
    objects = store.find(_BUCKET)
    intact = _ask("verify", str(study.testset))
    there = _ask(*study.run("there"))
    kept = [
        (study.folder / "here" / name).read_bytes() == (study.folder / "there" / name).read_bytes()
        for name in ("predictions.parquet", "evidence.json")
    ]
    content = store.cat_file(objects[3])
    store.pipe_file(objects[3], content[:-1] + bytes([content[-1] ^ 1]))
    changed = _ask("verify", str(study.testset)), _ask(*study.run("changed"))
    store.rm(objects[3])
    missing = _ask(*study.run("missing"))
    return [
        (f"{len(objects)} images in the store, none in the set", len(objects) == _CASES),
        ("verify: intact", intact == 0),
        ("a run from the store ends as one from a folder", there == here),
        ("predictions and evidence have the same bytes", all(kept)),
        ("one bit of one object changed: verify and run end with 3", changed == (3, 3)),
        ("one object removed: run ends with 3", missing == 3),
    ]


def _ask(*arguments: str) -> int:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, check=False).returncode


@contextmanager
def _server(folder: Path) -> Iterator[None]:
    """moto's S3 on a free port; the environment tells s3fs where it is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("moto_server")
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    try:
        _await(port, server)
        yield
    finally:
        server.terminate()
        server.wait(30)


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < until:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise SystemExit("the S3 server did not start")


if __name__ == "__main__":
    sys.exit(main())
