"""One real classifier in every package format, made from the files delivered with it; for tests and `make formats`."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.kserve_server import FakeServer, running
from tests.servers import real

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SHAPE = (3, 224, 224)
CONTRACT = {
    "schema": "evalsuite/model/1",
    "name": "derm_mnv2_7class",
    "inputs": [{
        "name": "image", "shape": list(SHAPE), "colour": "RGB", "source_range": [0, 255], "value_range": [-1, 1],
    }],
    "outputs": [{"name": "logits", "meaning": "logits", "activation": "softmax", "classes": list(CLASSES)}],
}  # fmt: skip
FOLDERS = {
    **CONTRACT,
    "outputs": [{"name": "probabilities", "meaning": "probabilities", "classes": list(CLASSES)}],
    "cases_per_call": 64,
}
PROGRAM = '''
"""Reads /input, writes /output: what a vendor's own program might look like."""
import csv, json, os, sys
import numpy as np, onnxruntime
from PIL import Image

source, target = sys.argv[1], sys.argv[2]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.onnx"), options, providers=["CPUExecutionProvider"]
)
name = session.get_inputs()[0].name
with open(os.path.join(target, "predictions.csv"), "w", newline="") as file:
    out = csv.writer(file)
    out.writerow(["case", *("p_" + c for c in CLASSES)])
    for case in json.load(open(os.path.join(source, "cases.json")))["cases"]:
        image = np.asarray(Image.open(os.path.join(source, case["images"]["image"])).convert("RGB"), np.float32)
        x = (image / 255 * 2 - 1).transpose(2, 0, 1)[None].astype(np.float32)
        y = session.run(None, {name: x})[0][0].astype(np.float64)
        p = np.exp(y - y.max())
        out.writerow([case["case"], *map(repr, (p / p.sum()).tolist())])
'''.replace("CLASSES", repr(CLASSES))
NETWORK = """
from pathlib import Path
import torch

def build():
    return torch.jit.load(str(Path(__file__).with_name("shell.ts")))
"""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A package or address, its contract where it has none, and how it was made where that must be said."""

    path: Path | str
    contract: Path | None = None
    said: str = ""


@dataclass(kw_only=True)
class Formats:
    """What could be made here, by name, and why the rest could not."""

    made: dict[str, Packaged] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


class Absent(Exception):
    """A format that cannot be made on this machine; the text says why."""


@contextmanager
def every_format(models: Path, work: Path, *, slow: bool = False) -> Iterator[Formats]:
    """Make every package under `work` from the folder `models`; with `slow` real servers and native code too."""
    (work / "contract.json").write_text(json.dumps(CONTRACT))
    given = work / "contract.json"
    found = Formats()
    script = models / "bundle" / "models" / "model.ts"
    found.made |= {
        "MONAI bundle, folder": Packaged(path=models / "bundle"),
        "MONAI bundle, zip": Packaged(path=_zipped(models / "bundle", work / "bundle.zip")),
        "MONAI bundle, .ts with metadata": Packaged(path=_with_metadata(models / "bundle", work / "meta")),
        "TorchScript": Packaged(path=script, contract=given),
        "torch.export": Packaged(path=models / "model.pt2", contract=given),
        "ONNX": Packaged(path=models / "model.onnx", contract=given),
        "Python + safetensors": Packaged(path=_python(script, work / "python")),
        "command line": Packaged(path=_command(models / "model.onnx", work / "command")),
    }
    with ExitStack() as stack:
        with contextlib.suppress(ImportError):
            import grpc  # noqa: F401

            server = stack.enter_context(running(_fake(script)))
            found.made["KServe v2 over HTTP, test server"] = Packaged(path=server.http, contract=given)
            found.made["KServe v2 over gRPC, test server"] = Packaged(path=server.grpc, contract=given)
        optional: dict[str, Callable[[], Packaged]] = {"MLflow": lambda: _mlflow(script, work / "mlflow")}
        if slow:
            optional["AOTInductor"] = lambda: Packaged(path=_compiled(models / "model.pt2", work), contract=given)
        for name, make in optional.items():
            try:
                found.made[name] = make()
            except Absent as absent:
                found.absent[name] = str(absent)
        for name, start in (("Triton", real.triton), ("MLServer", real.mlserver)):
            home = real.environment(name.lower())
            if not slow or home is None:
                found.absent[f"KServe v2, {name}"] = "not installed: make kserve" if slow else "only in make formats"
                continue
            folder = work / name
            folder.mkdir()
            served = stack.enter_context(
                start(home, models / "model.onnx", shape=SHAPE, classes=len(CLASSES), work=folder)
            )
            found.made[f"KServe v2 over HTTP, {name}"] = Packaged(path=served.http, contract=given)
            found.made[f"KServe v2 over gRPC, {name}"] = Packaged(path=served.grpc, contract=given)
        yield found


def _zipped(bundle: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
            archive.write(path, f"derm/{path.relative_to(bundle)}")
    return target


def _with_metadata(bundle: Path, folder: Path) -> Path:
    import torch

    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extra = {
            name: (bundle / "configs" / name).read_bytes() for name in ("metadata.json", "inference.json")
        }  # as MONAI's ckpt_export writes them
        torch.jit.save(
            torch.jit.load(str(bundle / "models" / "model.ts")), str(folder / "model.ts"), _extra_files=extra
        )
    return folder / "model.ts"


def _python(script: Path, folder: Path) -> Path:
    """The network with its weights set to zero as source, and the weights beside it: both halves are needed."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(script))
        save_file({k: v.clone().contiguous() for k, v in module.state_dict().items()}, str(folder / "w.safetensors"))
        with torch.no_grad():
            for tensor in module.state_dict().values():
                tensor.zero_()
        torch.jit.save(module, str(folder / "shell.ts"))
    (folder / "derm_network.py").write_text(NETWORK)
    _contract(folder, CONTRACT, entry_point="derm_network:build")
    return folder


def _command(onnx: Path, folder: Path) -> Path:
    folder.mkdir()
    (folder / "predict.py").write_text(PROGRAM)
    shutil.copy(onnx, folder / "model.onnx")
    _contract(folder, FOLDERS, cmd=["{python}", "{package}/predict.py", "{input}", "{output}"])
    return folder


def container(onnx: Path, work: Path) -> tuple[Path, Path]:
    """A container package, and a folder with a stand-in for podman that runs its program here."""
    program = _command(onnx, work / "image-program")
    package = work / "container"
    package.mkdir()
    _contract(package, FOLDERS, container={"image": "derm:1"})
    runtimes = work / "bin"
    runtimes.mkdir()
    path = runtimes / "podman"
    path.write_text(
        f"#!{sys.executable} -S\n"
        "import json, subprocess, sys\n"
        "volumes = [a.partition('=')[2] for a in sys.argv if a.startswith('--volume')]\n"
        "bind = lambda end: next(v for v in volumes if end in v).split(':')[0]\n"
        "if sys.argv[1] == 'image': print(json.dumps([{'Id': 'sha256:' + '0' * 64}]))\n"
        "elif sys.argv[1] == 'run':\n"
        f"    sys.exit(subprocess.call([{sys.executable!r}, {str(program / 'predict.py')!r}, bind(':/input:'),"
        " bind(':/output:')]))\n"
        "else: print('podman version 0 (a stand-in)')\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return package, runtimes


def _contract(folder: Path, base: Mapping[str, Any], **more: object) -> None:
    (folder / "evalsuite-model.yaml").write_text(json.dumps({**base, **more}))


def _fake(script: Path) -> FakeServer:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(script))

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x.copy())).numpy()

    return FakeServer(predict=predict, shape=SHAPE, classes=len(CLASSES))


def _mlflow(script: Path, folder: Path) -> Packaged:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow.pyfunc
            from mlflow.models import ModelSignature
            from mlflow.types import Schema, TensorSpec
    except ImportError:
        raise Absent("MLflow is not installed (evalsuite[mlflow])") from None

    class Wrapped(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            import torch

            module = torch.jit.load(context.artifacts["network"])
            with torch.inference_mode():
                return {"logits": module(torch.from_numpy(model_input["image"])).numpy()}

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, *SHAPE), "image")]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, len(CLASSES)), "logits")]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(folder), python_model=Wrapped(), artifacts={"network": str(script)}, signature=signature,
            pip_requirements=["torch"], metadata={"evalsuite_contract": CONTRACT},
        )  # fmt: skip
    return Packaged(path=folder)


def _compiled(exported: Path, work: Path) -> Path:
    import torch

    if shutil.which("g++") is None and shutil.which("clang++") is None:
        raise Absent("no C++ compiler")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(exported)
        made = torch._inductor.aoti_compile_and_package(program, package_path=str(work / "native.pt2"))
    return Path(made)
