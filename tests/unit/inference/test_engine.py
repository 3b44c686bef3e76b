"""The engine: every case accounted for, the same bytes after every interruption, errors that say what to do."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import CONTRACT, FakeModel, make_hooks, make_testset, value_of

from evalsuite.errors import ContractError, InputError, Interrupted, ModelRunError, OutputError
from evalsuite.inference.engine import predict
from evalsuite.inference.predictions import Predictions, write_predictions
from evalsuite.inference.settings import InferenceSettings
from evalsuite.models.contract import Contract, InputSpec, OutputSpec

SETTINGS = InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1, decoders=3, repeat=False)


def run(work: Path, *, n: int = 21, model=None, hooks=None, settings=SETTINGS, **options) -> Predictions:
    return predict(
        model or FakeModel(), make_testset(n), settings=settings, work=work, hooks=hooks or make_hooks(), **options
    )


def file_bytes(predictions: Predictions, path: Path) -> bytes:
    write_predictions(predictions, path)
    return path.read_bytes()


def test_every_case_has_its_own_answer_in_the_order_of_the_lock(tmp_path):
    model, calls = FakeModel(), []
    found = run(tmp_path, model=model, on_case=lambda done, total: calls.append((done, total)))
    assert found.table["case_id"].tolist() == [f"c{i:03d}" for i in range(21)]
    assert found.outputs == ("p_malignant",)
    np.testing.assert_allclose(found.table["p_malignant"], [value_of(i) for i in range(21)], atol=1e-12)
    assert set(found.table["status"]) == {"ok"}
    assert set(found.table["rater"]) == {"device"}
    assert found.table["condition"].isna().all()
    assert found.table["reason"].isna().all()
    assert model.batches[1:] == [4, 4, 4, 4, 4, 1]  # the first is the probe
    assert calls[-1] == (21, 21)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_record_says_what_ran(tmp_path):
    record = run(tmp_path).record["inference"]
    assert record["device"] == "cpu"
    assert (record["batch_size"], record["shard_size"], record["threads"], record["decoders"]) == (4, 8, 1, 3)
    assert record["n_cases"] == 21
    assert record["n_failed"] == 0
    assert record["resumed_shards"] == 0
    assert set(record["latency_ms"]) == {"p50", "p95", "p99"}
    assert {"read_decode_s", "predict_s", "store_s", "copy_s", "wait_s"} <= set(record["stages"])
    assert record["precision"] == "package (float32)"
    assert "torch" in record["versions"]


@pytest.mark.parametrize("stop_after", [0, 1, 3, 5])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(tmp_path, stop_after):
    whole = file_bytes(run(tmp_path / "a"), tmp_path / "whole.parquet")
    asked = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > stop_after

    with pytest.raises(Interrupted, match="stopped") as caught:
        run(tmp_path / "b", should_stop=should_stop)
    assert "same command" in caught.value.hint
    resumed = run(tmp_path / "b")
    assert resumed.record["inference"]["resumed_shards"] == stop_after // 2
    assert file_bytes(resumed, tmp_path / "resumed.parquet") == whole


def test_ctrl_c_in_the_callback_keeps_what_is_finished(tmp_path):
    def on_case(done: int, total: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="8 of 21 cases are stored"):
        run(tmp_path, on_case=on_case)
    assert run(tmp_path).record["inference"]["resumed_shards"] == 1


def test_a_crash_of_the_model_keeps_what_is_finished(tmp_path):
    crash = FakeModel(error=ZeroDivisionError("value 17 of patient X"), fail_after=5)
    with pytest.raises(ModelRunError, match="ZeroDivisionError") as caught:
        run(tmp_path, model=crash)
    assert "patient X" not in str(caught.value)
    assert run(tmp_path).record["inference"]["resumed_shards"] == 2


def test_a_model_that_draws_random_numbers_resumes_with_the_same_bytes(tmp_path):
    import torch

    def noisy(means: np.ndarray) -> np.ndarray:
        return means * 0.5 + 0.1 * torch.rand(len(means)).numpy()

    whole = run(tmp_path / "a", model=FakeModel(answer=noisy))
    left = iter([False] * 3 + [True])
    with pytest.raises(Interrupted):
        run(tmp_path / "b", model=FakeModel(answer=noisy), should_stop=lambda: next(left))
    resumed = run(tmp_path / "b", model=FakeModel(answer=noisy))
    assert resumed.record["inference"]["resumed_shards"] == 1
    assert resumed.digest == whole.digest


def test_copying_ahead_of_the_model_mixes_up_no_batches(tmp_path, monkeypatch):
    # stands in for a CUDA stream: the copy is taken at once, used one batch later
    from evalsuite.inference import crew

    class Ahead(crew.Upload):
        def __init__(self, inputs, *, device, stream):
            super().__init__({name: array.copy() for name, array in inputs.items()}, device=device)

    monkeypatch.setattr(crew, "copy_stream", lambda device: "a second stream")
    monkeypatch.setattr(crew, "Upload", Ahead)
    table = run(tmp_path, n=120, hooks=make_hooks(fail={50: "truncated"})).table
    expected = [np.nan if i == 50 else value_of(i) for i in range(120)]
    np.testing.assert_allclose(table["p_malignant"], expected, atol=1e-12)


@pytest.mark.parametrize("damage", ["truncate", "flip", "swap", "empty"])
def test_a_damaged_shard_is_computed_again(tmp_path, damage):
    whole = run(tmp_path)
    first, second = sorted((tmp_path / "shards").glob("*.parquet"))[:2]
    content = first.read_bytes()
    if damage == "truncate":
        first.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        first.write_bytes(b"")
    elif damage == "swap":
        first.write_bytes(second.read_bytes())
    else:
        first.write_bytes(content[:40] + bytes(b ^ 255 for b in content[40:60]) + content[60:])
    again = run(tmp_path)
    assert again.record["inference"]["resumed_shards"] == 2
    assert again.digest == whole.digest


def test_other_model_set_or_settings_share_no_shards(tmp_path):
    run(tmp_path)
    for other in (
        {"model": FakeModel(digest="n" * 64)},
        {"settings": InferenceSettings(device="cpu", batch_size=2, shard_size=8, threads=1, repeat=False)},
        {"settings": InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1, seed=1, repeat=False)},
    ):
        assert run(tmp_path, **other).record["inference"]["resumed_shards"] == 0
    assert run(tmp_path).record["inference"]["resumed_shards"] == 3


def test_an_unreadable_image_is_a_failed_case_and_changes_no_other(tmp_path):
    found = run(tmp_path, hooks=make_hooks(fail={2: "truncated", 20: "unreadable"}))
    table = found.table
    assert table.loc[2, ["status", "reason"]].tolist() == ["failed", "truncated"]
    assert table.loc[20, ["status", "reason"]].tolist() == ["failed", "unreadable"]
    assert np.isnan(table.loc[2, "p_malignant"])
    ok = [i for i in range(21) if i not in (2, 20)]
    np.testing.assert_allclose(table.loc[ok, "p_malignant"], [value_of(i) for i in ok], atol=1e-12)
    assert found.record["inference"]["failed_by_reason"] == {"truncated": 1, "unreadable": 1}


def test_a_decoder_that_raises_its_own_error_is_a_failed_case_named_by_its_kind(tmp_path):
    def read(i: int) -> np.ndarray:
        if i == 5:
            raise IndexError("patient name")
        return np.full((1, 4, 4), 7, dtype=np.uint8)

    table = run(tmp_path, hooks=make_hooks(read=read)).table
    assert table.loc[5, "reason"] == "reading failed (IndexError)"


def test_a_file_that_went_away_stops_the_run_instead_of_counting_against_the_device(tmp_path):
    def read(i: int) -> np.ndarray:
        if i == 13:
            Path("/nowhere/at/all.png").read_bytes()
        return np.full((1, 4, 4), 7, dtype=np.uint8)

    with pytest.raises(InputError, match="c013 cannot be reached: No such file"):
        run(tmp_path, hooks=make_hooks(read=read))


def test_an_output_that_is_not_finite_is_a_failed_case(tmp_path):
    model = FakeModel(answer=lambda means: np.where(np.isclose(means, value_of(6)), np.nan, means))
    table = run(tmp_path, model=model).table
    assert table.loc[6, ["status", "reason"]].tolist() == ["failed", "output is not finite"]
    assert np.isnan(table.loc[6, "p_malignant"])
    assert (table["status"] == "failed").sum() == 1


def test_no_usable_output_at_all_is_an_error_with_the_reasons_counted(tmp_path):
    model = FakeModel(answer=lambda means: np.full_like(means, np.nan))
    with pytest.raises(ModelRunError, match=r"21 failed: output is not finite: 20, truncated: 1") as caught:
        run(tmp_path, model=model, hooks=make_hooks(fail={3: "truncated"}))
    assert caught.value.exit_code == 4


def test_images_of_another_kind_are_refused_before_the_first_case(tmp_path):
    def on_case(done: int, total: int) -> None:
        pytest.fail("a case was run")

    hooks = make_hooks(read=lambda i: np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(ContractError, match=r"expects 1 channel \(L\); the images have 3") as caught:
        run(tmp_path, hooks=hooks, on_case=on_case)
    assert caught.value.exit_code == 2
    with pytest.raises(ContractError, match="4 × 4; they are 5 × 4"):
        run(tmp_path, hooks=make_hooks(read=lambda i: np.zeros((1, 5, 4), np.uint8)))
    with pytest.raises(ContractError, match="does not fit the test set: not an image"):
        run(tmp_path, hooks=make_hooks(fail=dict.fromkeys(range(21), "channels")))


def test_one_odd_image_is_not_a_misfit(tmp_path):
    found = run(tmp_path, hooks=make_hooks(fail={0: "channels"}))
    assert found.table["status"].tolist() == ["failed"] + ["ok"] * 20


@pytest.mark.parametrize(
    ("contract", "answer", "message"),
    [
        (CONTRACT, lambda m: m * 300, "calls the output output probabilities; the model gives values from"),
        (
            CONTRACT.model_copy(update={"outputs": (OutputSpec(classes=("a", "b")),)}),
            lambda m: m * 0 + 0.9,
            "sum is off 1 by up to 0.8",
        ),
    ],
)
def test_outputs_that_break_the_contract_are_refused(tmp_path, contract, answer, message):
    with pytest.raises(ModelRunError, match=message) as caught:
        run(tmp_path, model=FakeModel(contract=contract, answer=answer))
    assert (caught.value.failure, caught.value.exit_code) == ("contract", 4)


def test_a_score_that_names_an_unknown_output_is_refused(tmp_path):
    with pytest.raises(ContractError, match=r"needs p_benign; the model gives p_malignant"):
        run(tmp_path, required=["p_benign", "p_malignant"])


def test_out_of_memory_names_the_batch_when_it_was_asked_for(tmp_path):
    with pytest.raises(ModelRunError, match="batch of 4") as caught:
        run(tmp_path, model=FakeModel(error=MemoryError(), fail_after=2))
    assert "smaller" in caught.value.hint


def test_out_of_memory_halves_the_default_batch_and_starts_over(tmp_path):
    class Tight(FakeModel):
        def predict(self, batch):
            n = len(next(iter(batch.values())))
            if n > 10:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().predict(batch)

    settings = InferenceSettings(device="cpu", shard_size=8, threads=1, repeat=False)
    model = Tight()
    found = run(tmp_path, n=70, model=model, settings=settings)
    assert found.record["inference"]["batch_size"] == 8
    assert set(model.batches[1:]) == {8, 6}
    np.testing.assert_allclose(found.table["p_malignant"], [value_of(i) for i in range(70)], atol=1e-12)


def test_the_answer_does_not_depend_on_which_decoder_was_quicker(tmp_path):
    rng = np.random.default_rng(0)
    delays = rng.uniform(0, 0.004, 40)
    slow = run(tmp_path / "a", n=40, hooks=make_hooks(before=lambda i: time.sleep(delays[i]), fail={9: "x"}))
    fast = run(tmp_path / "b", n=40, hooks=make_hooks(fail={9: "x"}))
    assert file_bytes(slow, tmp_path / "a.parquet") == file_bytes(fast, tmp_path / "b.parquet")


def test_images_of_several_sizes_run_in_groups(tmp_path):
    contract = Contract(
        inputs=(InputSpec(shape=(1, None, None)),), outputs=(OutputSpec(classes=("malignant",)),), task="binary"
    )
    hooks = make_hooks(read=lambda i: np.full((1, 4 + i % 2, 4), i + 1, np.uint8 if i % 3 else np.uint16))
    found = run(tmp_path, model=FakeModel(contract=contract), hooks=hooks)
    np.testing.assert_allclose(found.table["p_malignant"], [value_of(i) for i in range(21)], atol=1e-12)


def test_several_inputs_by_name(tmp_path, monkeypatch):
    contract = Contract(
        inputs=(InputSpec(name="cc", shape=(1, 2, 2)), InputSpec(name="mlo", shape=(1, 2, 2))),
        outputs=(OutputSpec(classes=("cancer",)),),
    )
    with pytest.raises(ContractError, match=r"expects the inputs cc, mlo; .* the image columns cc, image"):
        predict(FakeModel(contract=contract), make_testset(3, ("cc", "image")), settings=SETTINGS, work=tmp_path)
    with pytest.raises(ContractError, match="no image column"):
        predict(FakeModel(), make_testset(3, ()), settings=SETTINGS, work=tmp_path)


def test_limit_takes_the_first_cases_only(tmp_path):
    assert len(run(tmp_path, limit=5).table) == 5
    with pytest.raises(InputError, match="limit is 0"):
        run(tmp_path, limit=0)


def test_a_repeated_batch_measures_the_rerun_tolerance(tmp_path):
    settings = InferenceSettings(device="cpu", batch_size=4, shard_size=8, threads=1)
    rerun = run(tmp_path / "a", settings=settings).record["inference"]["rerun"]
    assert rerun["n"] in (1, 4)
    assert rerun["max_abs_difference"] == 0.0
    assert rerun["bitwise_equal"] is True
    drift = iter(range(1000))
    unstable = FakeModel(answer=lambda means: means + 1e-6 * next(drift))
    rerun = run(tmp_path / "b", model=unstable, settings=settings).record["inference"]["rerun"]
    assert 0 < rerun["max_abs_difference"] < 1e-4
    assert rerun["bitwise_equal"] is False


def test_at_most_eight_small_batches_are_in_memory_and_no_thread_stays(tmp_path):
    alive, most, lock = set(), [0], threading.Lock()
    before = threading.active_count()

    def reading(i: int) -> None:
        with lock:
            alive.add(i)
            most[0] = max(most[0], len(alive))

    def answer(means: np.ndarray) -> np.ndarray:
        time.sleep(0.005)
        with lock:
            for mean in means:
                alive.discard(round(mean * 255) - 1)
        return means

    run(tmp_path, n=120, model=FakeModel(answer=answer), hooks=make_hooks(before=reading))
    assert most[0] <= 8 * 4 + 8  # eight batches of four, and what the probe left behind
    assert threading.active_count() == before


def test_a_full_disk_is_said_in_plain_words_and_leaves_no_thread(tmp_path):
    before = threading.active_count()
    (tmp_path / "shards").write_text("in the way")
    with pytest.raises(OutputError):
        run(tmp_path)
    assert threading.active_count() == before


def test_torch_is_left_as_it_was(tmp_path):
    import torch

    state = torch.get_rng_state()
    run(tmp_path)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "tpu"},
        {"device": "cpu:0"},
        {"precision": "bf16"},
        {"backend": "tensorrt"},
        {"batch_size": 0},
        {"shard_size": 0},
        {"threads": True},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=f"inference.{next(iter(wrong))}"):
        InferenceSettings(**wrong)


def test_a_cuda_device_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="cuda:99"):
        run(tmp_path, settings=InferenceSettings(device="cuda:99"))
