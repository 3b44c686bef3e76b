"""Running a model that takes folders: cases laid out under neutral names, predictions read back as hostile input."""

from __future__ import annotations

import csv
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalsuite.errors import ContractError, InputError, Interrupted, ModelRunError
from evalsuite.inference import packaged
from evalsuite.inference.hooks import bind_inputs, default_hooks
from evalsuite.inference.predictions import MISSING, NOT_FINITE, Predictions, make_predictions
from evalsuite.inference.probe import check_outputs, probed
from evalsuite.inference.settings import InferenceSettings
from evalsuite.inference.store import Shard, read_shard, write_shard
from evalsuite.inference.summary import STATUS_REASONS, answers_table, failures, rate_and_latency, require_outputs
from evalsuite.record.shared import is_url

if TYPE_CHECKING:
    from evalsuite.models.folder_model import FolderModel
    from evalsuite.testset.types import Case, LockedTestSet

CASES_PER_CALL = 64
_MOST_BYTES = 2**28
_STATUS = {"rejected": STATUS_REASONS["rejected"], "indeterminate": STATUS_REASONS["indeterminate"]}
_FAILED = "the model gave no output"
_FORM = "docs/models.md has the form of predictions.json and predictions.csv."


def predict_folders(
    model: FolderModel,
    testset: LockedTestSet,
    cases: Sequence[Case],
    identity: dict[str, Any],
    *,
    settings: InferenceSettings,
    work: Path,
    on_case: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
    required: Sequence[str] | None,
) -> Predictions:
    """The answers of a program or container on the cases; finished parts are kept, as for every model.

    Raises
    ------
    ContractError
        If the images are not what the contract says the program takes.
    ModelRunError
        If the program fails, what it writes cannot be read, or its outputs are not what the contract declares.
    """
    columns = tuple(model.contract.columns)
    if not columns or any(o.activation != "none" or o.meaning == "mask" for o in model.contract.outputs):
        raise ContractError(
            f"the contract of {model.name} declares masks or an activation; a program gives finished numbers",
            hint="Declare meaning: probabilities, logits or value, with activation: none.",
        )
    if any(is_url(path) for case in cases for paths in case.images.values() for path in paths):
        raise InputError(
            "a program or container is given files of this machine, and the images lie in shared storage",
            hint="Copy the images here and say where in the set's location.json.",
        )
    binding = bind_inputs(model.contract, cases)
    require_outputs(required, columns)
    _check_settings(settings)
    started = time.perf_counter()
    sample = [cases[i] for i in probed(model.contract, cases, default_hooks(model, binding))]
    if sample:
        tried = call_on(model, sample, binding)
        check_outputs(model.contract, _usable(tried), name=model.name)
    probe_s = time.perf_counter() - started
    size = model.contract.cases_per_call or CASES_PER_CALL
    plan = packaged.make_plan(
        cases, batch_size=size, shard_size=size, model=model, testset=testset.root,
        policy={"kind": "folders", "cases_per_call": size},
    )  # fmt: skip
    started = time.perf_counter()
    shards, n_resumed, seconds = _run_plan(
        plan, model, binding, folder=work / "shards", on_case=on_case, should_stop=should_stop
    )
    wall_s = time.perf_counter() - started
    joined = packaged.join_parts(shards)
    packaged.require_some_output(joined.reasons, name=model.name)
    record = {
        "kind": "folders",
        "device": "as the program chooses",
        "device_name": "as the program chooses",
        "precision": "as the program computes",
        "backend": model.format,
        "batch_size": size,
        "shard_size": size,
        "seed": settings.seed,
        "n_cases": len(cases),
        **failures(joined.reasons),
        "wall_s": wall_s,
        **rate_and_latency(seconds, wall_s),
        "stages": {"probe_s": probe_s, "predict_s": float(sum(s[0] * len(s) for s in seconds))},
        "resumed_shards": n_resumed,
        "shards": len(shards),
        "rerun": _again(plan, shards, model, binding, settings) if settings.repeat else None,
        "notes": [],
        "sandbox": model.runner.isolation,
    }
    return make_predictions(answers_table(cases, joined), outputs=columns, model=identity, record={"inference": record})


def _check_settings(settings: InferenceSettings) -> None:
    if settings.precision != "package" or settings.backend != "package":
        raise InputError(
            "a program or container computes as it was built: no other precision or backend can be asked of it",
            hint="Leave inference.precision and inference.backend out.",
        )


def _run_plan(
    plan: packaged.Plan,
    model: FolderModel,
    binding: Mapping[str, str],
    *,
    folder: Path,
    on_case: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> tuple[list[Shard], int, list[np.ndarray]]:
    total = sum(map(len, plan.shards))
    done, resumed = 0, 0
    if on_case is not None:
        on_case(0, total)
    shards: list[Shard] = []
    seconds: list[np.ndarray] = []
    for key, cases in zip(plan.keys, plan.shards, strict=True):
        shard = read_shard(folder, key, n=len(cases))
        if shard is None:
            if should_stop is not None and should_stop():
                raise Interrupted(
                    f"stopped; {done} of {total} cases are stored", hint="The same command goes on where it stopped."
                )
            started = time.perf_counter()
            shard = call_on(model, cases, binding)
            seconds.append(np.full(len(cases), (time.perf_counter() - started) / len(cases)))
            write_shard(folder, key, shard)
        else:
            resumed += 1
        shards.append(shard)
        done += len(cases)
        if on_case is not None:
            on_case(done, total)
    return shards, resumed, seconds


def call_on(model: FolderModel, cases: Sequence[Case], binding: Mapping[str, str]) -> Shard:
    """The answers of one call of the program on some cases, in two folders that exist for its duration."""
    with tempfile.TemporaryDirectory(prefix="evalsuite-cases-") as scratch:
        inside, outside = Path(scratch) / "input", Path(scratch) / "output"
        inside.mkdir()
        outside.mkdir()
        Path(scratch).chmod(0o755)
        present = lay_out(cases, binding, inside)
        if present:
            model.runner.run(inside, outside, log=model.log)
        answers = read_answers(outside, model) if present else {}
    return _shard(model, cases, present, answers)


def lay_out(cases: Sequence[Case], binding: Mapping[str, str], folder: Path) -> dict[str, int]:
    """Copy the cases' files into a folder, listed in `cases.json`; number → position of the cases that have an image.

    Copies, because a program could write through a link into the locked set. Nothing of the case table but the files
    themselves is handed over: no identifier, no file name.
    """
    listed, present = [], {}
    for i, case in enumerate(cases):
        number = f"{i + 1:06d}"
        files = {name: case.images.get(column, ()) for name, column in binding.items()}
        if not all(files.values()):
            continue
        images: dict[str, str | list[str]] = {}
        (folder / number).mkdir()
        for name, paths in files.items():
            placed = _copied(paths, folder / number, name)
            images[name] = placed[0] if len(paths) == 1 else placed
        listed.append({"case": number, "images": images})
        present[number] = i
    text = json.dumps({"schema": "evalsuite/cases/1", "cases": listed}, indent=1)
    (folder / "cases.json").write_text(text, encoding="utf-8")
    return present


def _copied(paths: Sequence[Path], folder: Path, name: str) -> list[str]:
    placed = []
    for k, path in enumerate(paths):
        ending = "".join(path.suffixes[-2:]) if path.name.lower().endswith(".nii.gz") else path.suffix
        target = folder / (f"{name}{ending}" if len(paths) == 1 else f"{name}/{k + 1:05d}{ending}")
        target.parent.mkdir(exist_ok=True)
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            raise InputError(
                f"the images of a case cannot be copied for the model: {error.strerror}",
                hint="Make the files readable and room in the temporary folder; the same command goes on.",
            ) from error
        placed.append(target.relative_to(folder.parent).as_posix())
    return placed


def read_answers(folder: Path, model: FolderModel) -> dict[str, Mapping[str, Any]]:
    """What the program wrote, by case number: `predictions.json` or `predictions.csv`.

    Raises
    ------
    ModelRunError
        If there is neither or both, or it is no list of cases with one row each.
    """
    found = [p for p in (folder / "predictions.json", folder / "predictions.csv") if p.is_file() and not p.is_symlink()]
    if len(found) != 1:
        what = "both predictions.json and predictions.csv" if found else "no predictions.json or predictions.csv"
        raise ModelRunError(f"{model.name} wrote {what}", hint=_FORM)
    path = found[0]
    if path.stat().st_size > _MOST_BYTES:
        raise ModelRunError(f"{path.name} of {model.name} is larger than {_MOST_BYTES >> 20} MiB")
    rows = _rows(path, model)
    answers: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        number = row.get("case")
        if not isinstance(number, str) or number in answers:
            fault = "has rows without a case" if not isinstance(number, str) else "names a case twice"
            raise ModelRunError(f"{path.name} of {model.name} {fault}", hint=_FORM)
        answers[number] = row
    return answers


def _rows(path: Path, model: FolderModel) -> list[Mapping[str, Any]]:
    fault = ModelRunError(f"{path.name} of {model.name} cannot be read as a list of cases", hint=_FORM)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            return list(csv.DictReader(text.splitlines(), strict=True))
        data = json.loads(text)
    except (OSError, ValueError, csv.Error, RecursionError):
        raise fault from None
    rows = data.get("cases") if isinstance(data, dict) else data
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise fault
    return rows


def _shard(
    model: FolderModel, cases: Sequence[Case], present: Mapping[str, int], answers: Mapping[str, Mapping[str, Any]]
) -> Shard:
    unknown = [number for number in answers if number not in present]
    if unknown:
        raise ModelRunError(f"{model.name} answered {len(unknown)} cases that it was not given", hint=_FORM)
    columns = tuple(model.contract.columns)
    reasons: list[str | None] = ["no image"] * len(cases)
    outputs = {name: np.full(len(cases), np.nan) for name in columns}
    for number, i in present.items():
        row = answers.get(number)
        reasons[i] = _FAILED if row is None else _reason(row, model)
        if row is None or reasons[i] is not None:
            continue
        numbers = [_number(row.get(name), name, model) for name in columns]
        if any(value is None for value in numbers):
            reasons[i] = MISSING
        elif not all(math.isfinite(value) for value in numbers if value is not None):
            reasons[i] = NOT_FINITE
        else:
            for name, value in zip(columns, numbers, strict=True):
                outputs[name][i] = value
    return Shard(reasons=tuple(reasons), outputs=outputs)


def _reason(row: Mapping[str, Any], model: FolderModel) -> str | None:
    """Why a case has no output, in our words: the program's own could hold what it read in the image's header."""
    status = row.get("status") or "ok"
    if status not in ("ok", "failed", *_STATUS):
        raise ModelRunError(
            f"{model.name} gave a status that is none of ok, rejected, failed, indeterminate", hint=_FORM
        )
    return None if status == "ok" else _STATUS.get(status, _FAILED)


def _number(value: Any, name: str, model: FolderModel) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise ModelRunError(f"{model.name} gave a {name} that is not a number", hint=_FORM) from None


def _usable(shard: Shard) -> dict[str, np.ndarray]:
    ok = np.array([reason is None for reason in shard.reasons])
    return {name: values[ok] for name, values in shard.outputs.items()}


def _again(
    plan: packaged.Plan, shards: Sequence[Shard], model: FolderModel, binding: Mapping[str, str],
    settings: InferenceSettings,
) -> dict[str, Any]:  # fmt: skip
    """One call, drawn by the seed, made a second time: how far its outputs are from the first time."""
    i = int(np.random.default_rng(settings.seed).integers(len(shards)))
    first, second = shards[i], call_on(model, plan.shards[i], binding)
    ok = np.array([a is None and b is None for a, b in zip(first.reasons, second.reasons, strict=True)])
    apart = [float(np.abs(first.outputs[n][ok] - second.outputs[n][ok]).max()) for n in first.outputs if ok.any()]
    same = all(np.array_equal(first.outputs[n], second.outputs[n], equal_nan=True) for n in first.outputs)
    return {
        "n": int(ok.sum()),
        "max_abs_difference": max(apart) if apart else None,
        "bitwise_equal": bool(first.reasons == second.reasons and same),
    }
