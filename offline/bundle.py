"""Make a folder that installs evalsuite in a closed network: wheels, their hashes, and a script that checks them.

    python offline/bundle.py --out dist/bundle-cpu
    python offline/bundle.py --out dist/bundle-cuda --torch-index https://download.pytorch.org/whl/cu126

The two flavours differ in where torch comes from, and in nothing else. Run this on a machine with a network, of the
same kind of processor and with the same version of Python as the one that is to run the suite.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
INSTALL = Path(__file__).with_name("install.sh")


def main(arguments: Iterable[str] | None = None) -> int:
    """Make the folder; print what it holds and the digest to tell whoever installs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--extras", default="onnx,volumes", help="extras of evalsuite that go along")
    parser.add_argument("--torch-index", help="package index that torch is taken from: a CUDA build's own")
    options = parser.parse_args(None if arguments is None else list(arguments))
    out: Path = options.out
    if out.exists() and any(out.iterdir()):
        print(f"{out} is not empty", file=sys.stderr)
        return 2
    begun = time.monotonic()
    wheels = out / "wheels"
    wheels.mkdir(parents=True)
    build_own(wheels)
    download(wheels, extras=options.extras, torch_index=options.torch_index)
    finish(out)
    n = sum(f.stat().st_size for f in wheels.iterdir())
    print(f"{out}: {len(list(wheels.iterdir()))} wheels, {n / 1e6:,.0f} MB, made in {time.monotonic() - begun:.0f} s")
    print(f"digest of SHA256SUMS, to be told to whoever installs it: {sha256(out / 'SHA256SUMS')}")
    return 0


def build_own(wheels: Path) -> None:
    """The wheel of this checkout."""
    done = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(ROOT)]
    subprocess.run(done, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def download(wheels: Path, *, extras: str, torch_index: str | None) -> None:
    """The wheels of all it needs, in the versions the tests run with."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    torch = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    index = ["--index-url", torch_index] if torch_index else []
    subprocess.run([*pip, *index, "--no-deps", "--dest", str(wheels), torch], check=True)
    [own] = wheels.glob("evalsuite-*.whl")
    wanted = f"{own}[{extras}]" if extras else str(own)
    subprocess.run(
        [*pip, "-c", str(CONSTRAINTS), "--find-links", str(wheels), "--dest", str(wheels), torch, wanted], check=True
    )


def finish(out: Path) -> None:
    """Everything beside the wheels: pinned requirements, the script, the manifest, and the digest of every file."""
    wheels = sorted((out / "wheels").glob("*.whl"))
    pinned = [
        f"{name}=={version} --hash=sha256:{sha256(wheel)}" for wheel in wheels for name, version in [named(wheel)]
    ]
    (out / "requirements.txt").write_text("\n".join(pinned) + "\n")
    (out / "python-version.txt").write_text("{}.{}\n".format(*sys.version_info[:2]))
    shutil.copy(INSTALL, out / INSTALL.name)
    manifest = {
        "schema": "evalsuite/bundle/1",
        "python": ".".join(map(str, sys.version_info[:2])),
        "machine": f"{platform.system().lower()} {platform.machine()}",
        "wheels": [
            {"file": w.name, "size": w.stat().st_size, "sha256": sha256(w), "license": license_of(w)} for w in wheels
        ],
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    (out / "SHA256SUMS").write_text("".join(f"{sha256(out / name)}  {name}\n" for name in files))


def named(wheel: Path) -> tuple[str, str]:
    """Name and version of a wheel, from its file name (PEP 427)."""
    name, version = wheel.name.split("-")[:2]
    return re.sub(r"[-_.]+", "-", name).lower(), version


def license_of(wheel: Path) -> str:
    """What a wheel says its licence is; "" where it does not say."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        head = archive.read(metadata).decode("utf-8", "replace").split("\n\n", 1)[0]
    stated = {k: v.strip() for k, _, v in (line.partition(": ") for line in head.splitlines())}
    classifiers = re.findall(r"^Classifier: License :: (?:OSI Approved :: )?(.+)$", head, re.MULTILINE)
    return stated.get("License-Expression") or "; ".join(classifiers) or stated.get("License", "")[:80]


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def without_network(command: Sequence[str]) -> list[str]:
    """The command in a namespace of its own that has no network; as it is where the system does not allow that."""
    unshare = shutil.which("unshare")
    probe = [unshare or "", "--map-root-user", "--net", "true"]
    if unshare and subprocess.run(probe, check=False, capture_output=True).returncode == 0:
        return [unshare, "--map-root-user", "--net", *command]
    print("this system allows no network namespace: pip is kept off the network by its options only", file=sys.stderr)
    return list(command)


def check(bundle: Path, into: Path) -> int:
    """Install a bundle without a network, and run a whole study there without one."""
    env = {**os.environ, "PIP_CONFIG_FILE": "/dev/null", "OMP_NUM_THREADS": "1"}
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PYTHONPATH"):
        env.pop(name, None)
    begun = time.monotonic()
    steps = [[str(bundle / INSTALL.name), "--into", str(into), "--expect", sha256(bundle / "SHA256SUMS")]]
    tool, study = str(into / "bin" / "evalsuite"), ROOT / "examples" / "recorded_predictions"
    testset, protocol = str(into / "study" / "set"), str(study / "protocol.yaml")
    run = ["--testset", testset, "--model", str(study / "predictions.csv"), "--out", str(into / "study" / "run")]
    steps += [
        [tool, "lock", str(study / "cases.csv"), "--protocol", protocol, "--out", testset],
        [tool, "run", protocol, *run],
        [tool, "verify", str(into / "study" / "run")],
    ]
    for step in steps:
        code = subprocess.run(without_network(step), check=False, env=env, cwd=into.parent).returncode
        if code not in (0, 1):
            print(f"{step[0]} {step[1]} ended with {code}", file=sys.stderr)
            return 1
        if step is steps[0]:
            print(f"installed without a network in {time.monotonic() - begun:.0f} s")
    print("a study was locked, run and verified without a network")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "check":
        raise SystemExit(check(Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()))
    raise SystemExit(main())
