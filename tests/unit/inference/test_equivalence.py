"""Another number format or backend is admitted only when its answers are the package's own, and the record says so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_fakes import FakeModel, make_hooks, make_testset

from evalsuite.errors import InputError
from evalsuite.inference.engine import predict
from evalsuite.inference.equivalence import compare, sample
from evalsuite.inference.settings import InferenceSettings
from evalsuite.inference.store import Shard
from evalsuite.models.contract import Contract, InputSpec, OutputSpec
from evalsuite.models.numeric_network import module_of, with_numerics
from evalsuite.models.numerics import Numerics
from evalsuite.models.torchscript import TorchScriptNetwork

BF16 = Numerics(precision="bfloat16")
CONTRACT = Contract(inputs=(InputSpec(name="x", shape=(3, 16, 16)),), outputs=(OutputSpec(classes=("a", "b")),))


@dataclass(frozen=True, kw_only=True)
class Shifting(FakeModel):
    """Answers that are off by `shift` in any other number format."""

    shift: float = 0.0

    def with_numerics(self, numerics, *, threads):
        return replace(self, answer=lambda means: means + self.shift)


def settings(**options) -> InferenceSettings:
    return InferenceSettings(device="cpu", batch_size=4, threads=1, repeat=False, **options)


def at_half(columns):
    return {"primary": columns["p_malignant"] >= 40.5 / 255}


def test_an_equivalent_number_format_is_run_and_recorded_with_its_flips(tmp_path):
    found = predict(
        Shifting(shift=1 / 255), make_testset(80), settings=settings(precision="bfloat16"), work=tmp_path,
        hooks=make_hooks(), decide=at_half,
    )  # fmt: skip
    seen = found.record["inference"]["equivalence"]
    assert seen["n"] == 64
    assert seen["tolerance"] == 5e-3
    assert seen["max_abs_difference"] == pytest.approx(1 / 255)
    drawn = {case.case_id for case in sample(make_testset(80).cases, seed=0)}
    assert seen["flips"] == {"primary": int("c039" in drawn)}
    assert found.record["inference"]["precision"] == "bfloat16"
    assert found.table["p_malignant"].iloc[0] == pytest.approx(2 / 255)


@pytest.mark.parametrize(
    ("shift", "options"),
    [(6e-3, {"precision": "bfloat16"}), (2e-5, {"backend": "onnxruntime"}), (2e-5, {"memory_format": "channels_last"})],
)
def test_one_that_differs_is_refused_before_the_first_case(tmp_path, shift, options):
    def on_case(done: int, total: int) -> None:
        pytest.fail("a case was run")

    with pytest.raises(InputError, match="not equivalent to the model as packaged: an output differs by") as caught:
        predict(
            Shifting(shift=shift), make_testset(9), settings=settings(**options), work=tmp_path, hooks=make_hooks(),
            on_case=on_case,
        )  # fmt: skip
    assert caught.value.exit_code == 2


def test_one_that_does_not_run_is_the_settings_fault_not_the_models(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Failing(FakeModel):
        def with_numerics(self, numerics, *, threads):
            return replace(self, error=ZeroDivisionError("no compiler"))

    with pytest.raises(InputError, match="does not run with backend compile") as caught:
        predict(Failing(), make_testset(9), settings=settings(backend="compile"), work=tmp_path, hooks=make_hooks())
    assert "needs a C++ compiler" in caught.value.hint


def test_the_package_as_it_is_needs_no_comparison(tmp_path):
    found = predict(FakeModel(), make_testset(5), settings=settings(), work=tmp_path, hooks=make_hooks())
    assert found.record["inference"]["equivalence"] is None


def shard(values, reasons=(None, None, None)) -> Shard:
    return Shard(reasons=tuple(reasons), outputs={"volume": np.array(values, dtype=np.float64)})


def test_large_values_are_compared_relative_to_the_packages_own():
    found = compare(shard([1000.0, 1.0, 0.5]), shard([1004.0, 1.0, 0.5]), BF16, None)
    assert found["max_abs_difference"] == pytest.approx(0.004)
    assert found["flips"] is None


@pytest.mark.parametrize(
    "other",
    [
        shard([1.0, 1.0, np.nan], (None, None, "output is not finite")),
        Shard(reasons=(None,) * 3, outputs={"other": np.ones(3)}),
    ],
)
def test_answers_to_other_cases_or_other_outputs_are_no_equivalence(other):
    with pytest.raises(InputError, match="the same cases with the same outputs"):
        compare(shard([1.0, 1.0, 1.0]), other, BF16, None)


def test_no_answer_at_all_is_no_equivalence():
    empty = shard([np.nan] * 3, ("truncated",) * 3)
    with pytest.raises(InputError, match="not one case"):
        compare(empty, empty, BF16, None)


def network() -> tuple[torch.nn.Module, TorchScriptNetwork]:
    torch.manual_seed(0)
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(8, 2), torch.nn.Sigmoid(),
    ).eval()  # fmt: skip
    with torch.no_grad(), pytest.warns(DeprecationWarning, match="torch.jit"):
        return plain, TorchScriptNetwork(module=torch.jit.trace(plain, torch.zeros(2, 3, 16, 16)))


def run_as(own: TorchScriptNetwork, numerics: Numerics, batch: torch.Tensor) -> np.ndarray:
    asked = with_numerics(own, numerics, contract=CONTRACT, device="cpu", threads=1)
    with torch.inference_mode():
        (found,) = asked.run([batch])
    assert found.dtype == torch.float32
    return found.numpy()


@pytest.mark.parametrize(
    ("numerics", "tolerance"),
    [
        (Numerics(precision="float32"), 0.0),
        (Numerics(memory_format="channels_last"), 1e-6),
        (BF16, 5e-3),
        (Numerics(precision="bfloat16", memory_format="channels_last"), 5e-3),
        (Numerics(backend="onnxruntime"), 1e-6),
        (Numerics(backend="openvino"), 1e-5),
    ],
    ids=str,
)
def test_a_network_in_another_format_or_program_answers_alike(numerics, tolerance):
    if numerics.backend != "package":
        pytest.importorskip(numerics.backend, reason=f"{numerics.backend} is not installed")
    plain, own = network()
    batch = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = plain(batch).numpy()
    found = run_as(own, numerics, batch)
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)
    if numerics.precision == "bfloat16":
        assert np.abs(found - expected).max() > 1e-6  # it is computed otherwise


@pytest.mark.parametrize(
    ("numerics", "why"),
    [
        (Numerics(precision="tf32"), "cpu does not compute in TF32"),
        (Numerics(backend="compile"), "torch.compile does not compile TorchScript"),
        (Numerics(backend="onnxruntime", precision="float16"), "onnxruntime does not compute so here"),
        (Numerics(backend="onnxruntime", memory_format="channels_last"), "chooses its own layout"),
    ],
    ids=str,
)
def test_what_a_package_cannot_do_is_said(numerics, why):
    with pytest.raises(InputError, match=why):
        run_as(network()[1], numerics, torch.zeros(2, 3, 16, 16))


def test_a_network_torch_does_not_run_keeps_its_format():
    class Other:
        batch_limits = (1, None)

    assert module_of(Other()) is None
    for numerics, why in ((BF16, "not run by torch"), (Numerics(backend="onnxruntime"), "cannot be converted")):
        with pytest.raises(InputError, match=why):
            with_numerics(Other(), numerics, contract=CONTRACT, device="cpu", threads=1)


def test_an_exported_program_is_converted_too():
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    from evalsuite.models.exported import ExportedNetwork

    plain, _ = network()
    cases = torch.export.Dim("cases", min=1, max=64)
    program = torch.export.export(plain, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=({0: cases},))
    own = ExportedNetwork(program=program, module=program.module(check_guards=False), batch_limits=(1, 64))
    batch = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        np.testing.assert_allclose(run_as(own, Numerics(backend="onnxruntime"), batch), plain(batch).numpy(), atol=1e-6)


def test_the_settings_know_their_words(tmp_path: Path):
    for wrong in ({"precision": "int8"}, {"backend": "tensorrt"}, {"memory_format": "blocked"}):
        with pytest.raises(InputError, match=f"inference.{next(iter(wrong))}"):
            InferenceSettings(**wrong)
    assert InferenceSettings(precision="tf32").numerics == Numerics(precision="tf32")
