"""The compiled loops of the bootstrap: numpy's own random numbers and sums, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import warnings
from bisect import bisect_right

import numba
import numpy as np
import pytest

from evalsuite.stats import _blocks, _kernels, draw
from evalsuite.stats._blocks import compact
from evalsuite.stats.draw import PatientDraw
from evalsuite.stats.replicates import replicate_values


def drawn_by_numpy(size: int, seed: int, replicate: int) -> np.ndarray:
    """The documented draw with numpy's generators: Poisson(1) counts, topped up or thinned to `size`."""
    generator = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=(replicate,))))
    bits = generator.integers(0, 2**64, -(-size // 4), dtype=np.uint64)
    cells = bits.astype("<u8").view("<u2")[:size].astype(np.intp)
    out = draw._TABLE[cells].astype(np.int32)
    unsettled = np.flatnonzero(out < 0)
    if unsettled.size:
        more = generator.integers(0, 2**64, unsettled.size, dtype=np.uint64)
        for i, low in zip(unsettled.tolist(), more.tolist(), strict=True):
            out[i] = bisect_right(draw._POISSON, (int(cells[i]) << 64) | low)
    total = int(out.sum())
    if total < size:
        np.add.at(out, generator.integers(0, size, size - total), 1)
    elif total > size:
        units = generator.choice(total, total - size, replace=False, shuffle=False)
        np.subtract.at(out, np.searchsorted(np.cumsum(out), units, side="right"), 1)
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 63, 64, 65, 129, 1000, 20_011])
@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 + 5, 2**200 + 3])
def test_a_draw_is_the_one_numpy_would_make(size: int, seed: int) -> None:
    replicates = 60 if size < 10_000 else 4
    counts = PatientDraw(np.arange(size), replicates + 3, seed).counts(3, replicates + 3)
    for row, replicate in zip(counts, range(3, replicates + 3), strict=True):
        np.testing.assert_array_equal(row, drawn_by_numpy(size, seed, replicate))


def test_the_counts_left_open_by_16_bits_are_settled_as_by_numpy() -> None:
    # About one patient in 7,000: this many replicates meet some hundred.
    counts = PatientDraw(np.arange(1000), 800, 9).counts(0, 800)
    for replicate in range(800):
        np.testing.assert_array_equal(counts[replicate], drawn_by_numpy(1000, 9, replicate))


def _stream(seed: int) -> tuple[np.ndarray, np.random.Generator]:
    state = np.zeros(_kernels._STATE_WORDS, dtype=np.uint64)
    _kernels._start(np.array([seed, 0, 0, 0, 7], dtype=np.uint64), state)
    sequence = np.random.SeedSequence(seed, spawn_key=(7,))
    return state, np.random.Generator(np.random.PCG64DXSM(sequence))


@pytest.mark.parametrize(
    ("total", "size"), [(1, 1), (9, 9), (500, 17), (10_000, 600), (20_000, 1000), (20_000, 1001), (10_001, 10_001)]
)
def test_units_without_replacement_are_numpys(total: int, size: int) -> None:
    state, generator = _stream(11)
    for _ in range(3):
        np.testing.assert_array_equal(
            _kernels._without_replacement(state, total, size),
            generator.choice(total, size, replace=False, shuffle=False),
        )
    # Both streams have used the same numbers.
    assert int(_kernels._up_to(state, 10**9)) == int(generator.integers(0, 10**9 + 1))


@pytest.mark.parametrize("largest", [1, 2, 6, 3_000_000_000])
def test_bounded_integers_are_numpys_with_their_rejections(largest: int) -> None:
    state, generator = _stream(5)
    got = [int(_kernels._up_to(state, largest)) for _ in range(200)]
    assert got == generator.integers(0, largest + 1, 200).tolist()


def test_stratified_groups_share_one_stream_in_order() -> None:
    cluster, label = np.arange(60), np.arange(60) % 3 == 0
    counts = PatientDraw(cluster, 20, 4, stratify=label).counts(0, 20)
    assert (counts[:, label].sum(axis=1) == 20).all()
    assert (counts[:, ~label].sum(axis=1) == 40).all()
    # The first group of a replicate starts its stream, so it is the draw of a study with those patients alone.
    alone = PatientDraw(np.arange(40), 20, 4).counts(0, 20)
    np.testing.assert_array_equal(counts[:, ~label], alone)


@pytest.mark.parametrize("kind", [np.uint8, np.int32])
@pytest.mark.parametrize("work", [np.uint32, np.int64])
def test_rank_sums_are_those_of_every_pair(kind: type, work: type) -> None:
    rng = np.random.default_rng(3)
    positive, negative = np.sort(rng.integers(0, 9, 25)), np.sort(rng.integers(0, 9, 40))
    owner_p, owner_n = rng.integers(0, 30, 25), rng.integers(0, 30, 40)
    counts = rng.poisson(1.0, (6, 30)).astype(kind)
    below, through = (np.searchsorted(negative, positive, side) for side in ("left", "right"))
    index = (owner_p, owner_n, below, through, np.searchsorted(positive, positive, "left"))
    totals, terms = np.empty((6, 3), dtype=np.int64), np.empty((6, 25))
    space = np.empty(41, dtype=work), np.empty(26, dtype=work)
    _kernels.rank_counts(counts, tuple(a.astype(np.uint32) for a in index), space, totals, terms)
    won = 2 * (positive[:, None] > negative) + (positive[:, None] == negative)
    for row, c in enumerate(counts.astype(np.int64)):
        p, n = c[owner_p], c[owner_n]
        assert totals[row].tolist() == [p.sum(), n.sum(), p @ won @ n]
        true = np.array([p[positive >= s].sum() for s in positive])
        called = true + np.array([n[negative >= s].sum() for s in positive])
        expected = np.where(called > 0, p * true / np.maximum(called, 1), 0.0)
        np.testing.assert_allclose(terms[row], expected, rtol=1e-15)


def test_counts_that_do_not_fit_a_byte_stay_whole() -> None:
    assert compact(np.array([[255, 0]], dtype=np.int32)).dtype == np.uint8
    kept = compact(np.array([[256, 0]], dtype=np.int32))
    assert kept.dtype == np.int32
    assert kept[0, 0] == 256


def test_a_read_only_machine_compiles_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def nowhere(*, cache: bool = False, **options: bool) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", nowhere)

    def double(x: int) -> int:
        return 2 * x

    assert _kernels._compiled(double)(4) == 8


def test_importing_the_statistics_loads_no_compiler() -> None:
    code = (
        "import sys, evalsuite.stats.bootstrap, evalsuite.stats.multiclass, evalsuite.analyses.tasks; "
        "sys.exit(', '.join(sorted({'numba', 'llvmlite'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_users_own_thread_limit_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    for wished, expected in (("", 6), ("2", 2), ("64", 6), ("0", 6), ("3,2", 3), ("many", 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", wished)
        assert _blocks.usable_threads() == expected
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert _blocks.usable_threads() == _blocks.MOST_THREADS


@pytest.mark.parametrize("threads", [1, 3, None])
def test_every_replicate_is_worked_on_once(threads: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalsuite.stats.draw.BLOCK_BYTES", 4 * 50 * 12)
    monkeypatch.setattr(_blocks, "SMALL_WORK", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    patients = PatientDraw(np.arange(50), 101, 1)
    times = np.zeros(101, dtype=int)

    def work(part: slice, counts: np.ndarray) -> None:
        times[part] += 1
        assert counts.shape == (part.stop - part.start, 50)
        assert counts.dtype == np.uint8
        np.testing.assert_array_equal(counts, patients.counts(part.start, part.stop))

    _blocks.each_block(patients, work, cases=50, threads=threads)
    assert (times == 1).all()


def test_a_fault_in_a_thread_is_raised() -> None:
    def work(part: slice, counts: np.ndarray) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _blocks.each_block(PatientDraw(np.arange(5), 40, 1), work, cases=5, threads=2)


@pytest.mark.parametrize("labels", [1, 2, 3])
def test_groups_of_patients_are_those_with_the_same_set_of_labels(labels: int) -> None:
    rng = np.random.default_rng(labels)
    patient, label = rng.integers(0, 60, 150), rng.choice(["n", "p", "x"][:labels], 150)
    made = PatientDraw(patient, 1, 0, stratify=label)
    names = sorted(set(patient.tolist()))
    sets = {k: tuple(sorted(set(label[patient == name].tolist()))) for k, name in enumerate(names)}
    slow = [[k for k, found in sets.items() if found == key] for key in sorted(set(sets.values()))]
    assert [group.tolist() for group in made.groups] == slow


def test_sums_in_small_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    y = rng.random(200) < 0.4
    arrays = {"reference": y, "score": rng.normal(size=200) + y, "call": rng.random(200) < 0.5}
    masks = np.stack([rng.random(200) < 0.5 for _ in range(5)])
    metrics = ["auroc", "average_precision", "kappa"]
    whole = replicate_values(PatientDraw(np.arange(200), 60, 1), metrics=metrics, masks=masks, **arrays)
    monkeypatch.setattr("evalsuite.stats.replicates.SUMS_BYTES", 1)
    monkeypatch.setattr("evalsuite.stats._stratum_plan.WEIGHTS_BYTES", 200)
    monkeypatch.setattr("evalsuite.stats._stratum_plan.WEIGHTS_PATIENTS", 7)
    monkeypatch.setattr("evalsuite.stats._stratum_plan.ROW_ELEMENTS", 1)
    parts = replicate_values(PatientDraw(np.arange(200), 60, 1), metrics=metrics, masks=masks, **arrays)
    np.testing.assert_array_equal(whole, parts)


def test_a_switched_off_compiler_is_said_so() -> None:
    code = "import numpy; from evalsuite.stats.draw import PatientDraw; PatientDraw(numpy.arange(9), 2, 1).counts(0, 2)"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert "EvalsuiteError: NUMBA_DISABLE_JIT is set" in done.stderr


def test_a_forked_process_draws_the_same() -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork on this platform")
    here = _threaded(1)
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside any thread, whoever started it.
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            there = pool.map(_threaded, [3])[0]
    np.testing.assert_array_equal(here, there)


def _threaded(threads: int) -> np.ndarray:
    y = np.arange(90) % 3 == 0
    return replicate_values(
        PatientDraw(np.arange(90), 40, 1),
        reference=y,
        score=np.sin(np.arange(90.0)),
        metrics=["auroc"],
        threads=threads,
    )
