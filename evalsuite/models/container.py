"""A container image as a model: /input and /output folders, no network, by whichever runtime is installed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from evalsuite.errors import ModelLoadError
from evalsuite.models.contract import ContainerSpec, load_contract
from evalsuite.models.formats import Loaded, Located
from evalsuite.models.package import package_digest, sidecar_contract
from evalsuite.models.program import require_success, run_program
from evalsuite.record.digest import digest_json

RUNTIMES = ("podman", "docker", "apptainer", "singularity")
TIMEOUT_S = 3600.0
_ASK_S = 600
_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")
_TMP = "rw,nosuid,nodev,size=4g,mode=1777"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A container runtime that answers on this machine."""

    kind: str
    program: str
    version: str

    @property
    def is_apptainer(self) -> bool:
        return self.kind in ("apptainer", "singularity")

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command of the runtime.

        Raises
        ------
        ModelLoadError
            If it cannot be started or does not answer.
        """
        try:
            return subprocess.run(
                [self.program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=_ASK_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ModelLoadError(f"{self.kind} does not answer ({type(error).__name__})") from None


def find_runtime(for_archive: str | None = None) -> Runtime:
    """The first runtime that is installed and answers; for a .sif image one that runs those.

    Raises
    ------
    ModelLoadError
        If there is none; the message says what each one found lacks.
    """
    wanted = RUNTIMES[2:] if (for_archive or "").endswith(".sif") else RUNTIMES
    silent = []
    for kind in wanted:
        program = shutil.which(kind)
        if program is None:
            continue
        runtime = Runtime(kind=kind, program=program, version="")
        with contextlib.suppress(ModelLoadError):
            # docker's client is often there without its daemon: "info" talks to it
            said = runtime.ask("--version" if runtime.is_apptainer else "info")
            if said.returncode == 0:
                version = runtime.ask("--version").stdout.strip().splitlines()
                return Runtime(kind=kind, program=program, version=version[0][:80] if version else "")
        silent.append(kind)
    found = f" ({', '.join(silent)} is installed and does not work)" if silent else ""
    raise ModelLoadError(
        f"no container runtime is here: {', '.join(wanted)}{found}",
        hint="Install podman or apptainer, or start docker's service; or run the model elsewhere and give its "
        "predictions as a table.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRunner:
    """An image, ready to be run on folders."""

    runtime: Runtime
    image: str
    spec: ContainerSpec
    name: str
    timeout_s: float

    @property
    def isolation(self) -> str:
        return f"{self.runtime.kind}, no network, read-only root, no capabilities"

    def run(self, cases: Path, predictions: Path, *, log: Path) -> None:
        container = f"evalsuite-{uuid.uuid4().hex[:16]}"
        predictions.chmod(0o777)  # the image's user is not ours
        command = (
            _apptainer(self, cases, predictions)
            if self.runtime.is_apptainer
            else _docker(self, cases, predictions, container)
        )

        def stop() -> None:
            if not self.runtime.is_apptainer:
                self.runtime.ask("kill", container)

        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_CONFIG", "AWS_"))}
        name = f"the container {self.name}"
        ended = run_program(
            command,
            name=name,
            environment=environment,
            folder=predictions,
            timeout_s=self.timeout_s,
            log=log,
            stop=stop,
        )
        require_success(ended, name)


def _docker(runner: ContainerRunner, cases: Path, predictions: Path, container: str) -> list[str]:
    spec = runner.spec
    gpu = ["--gpus=all"] if runner.runtime.kind == "docker" else ["--device=nvidia.com/gpu=all"]
    return [
        runner.runtime.program, "run", "--rm", f"--name={container}", "--pull=never", "--network=none", "--read-only",
        "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=1024",
        f"--memory={int(spec.memory_gb * 1024)}m", f"--tmpfs=/tmp:{_TMP}", *(gpu if spec.gpu else []),
        f"--volume={cases}:{spec.input}:ro", f"--volume={predictions}:{spec.output}:rw", runner.image, *spec.args,
    ]  # fmt: skip


def _apptainer(runner: ContainerRunner, cases: Path, predictions: Path) -> list[str]:
    spec = runner.spec
    return [
        runner.runtime.program, "run", "--containall", "--cleanenv", "--no-home", "--net", "--network=none",
        *(["--nv"] if spec.gpu else []), f"--bind={cases}:{spec.input}:ro", f"--bind={predictions}:{spec.output}:rw",
        runner.image, *spec.args,
    ]  # fmt: skip


def load(located: Located) -> Loaded:
    """Find the runtime and the image; nothing of the image is run, and nothing is fetched from a registry.

    Raises
    ------
    ContractError
        If the contract is faulty.
    ModelLoadError
        If there is no runtime, or it does not have the image.
    """
    contract = load_contract(sidecar_contract(located) or located.path)
    spec = contract.container
    if spec is None:
        raise ModelLoadError(f"{located.path.name} names no container")
    if spec.archive is not None and not (located.path / spec.archive).is_file():
        raise ModelLoadError(f"image {spec.archive} is not a file of the package {located.path.name}")
    runtime = find_runtime(spec.archive)
    if spec.archive is not None:
        image, digest = _from_archive(runtime, located.path / spec.archive), ""
    else:
        image, id = _present(runtime, str(spec.image))
        digest = digest_json({"package": package_digest(located), "image": id})
    runner = ContainerRunner(
        runtime=runtime, image=image, spec=spec, name=located.path.name, timeout_s=contract.timeout_s or TIMEOUT_S
    )
    note = f"The model is a container, run by {runtime.version or runtime.kind} without network."
    return Loaded(runner=runner, contract=contract, notes=(note,), digest=digest)


def _from_archive(runtime: Runtime, archive: Path) -> str:
    """What `run` names the image of an archive by."""
    if runtime.is_apptainer:
        return str(archive.resolve()) if archive.suffix == ".sif" else f"docker-archive:{archive.resolve()}"
    said = runtime.ask("load", "--input", str(archive))
    found = re.findall(r"^Loaded image(?: ID)?: *(\S+)$", said.stdout, re.MULTILINE)
    if said.returncode != 0 or len(found) != 1:
        why = f"{len(found)} images" if said.returncode == 0 else f"{runtime.kind} refuses it"
        raise ModelLoadError(
            f"{archive.name} is not one image saved to a file: {why}", hint="podman save -o FILE IMAGE"
        )
    return _present(runtime, found[0])[1]


def _present(runtime: Runtime, image: str) -> tuple[str, str]:
    """The image by its content's identity, so that a tag moved during the run changes nothing."""
    if runtime.is_apptainer:
        raise ModelLoadError(
            f"{runtime.kind} runs images from files, {image} is a name", hint="container: {archive: image.sif}"
        )
    said = runtime.ask("image", "inspect", image)
    try:
        id = str(json.loads(said.stdout)[0]["Id"])
    except (ValueError, LookupError, TypeError):
        id = ""
    if said.returncode != 0 or not _ID.fullmatch(id):
        raise ModelLoadError(
            f"{runtime.kind} has no image {image}",
            hint=f"Fetch it beforehand, since a run uses no network: {runtime.kind} pull {image}",
        )
    return id, id
