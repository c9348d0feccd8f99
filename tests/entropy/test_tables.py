"""Sums, symmetry and provenance of the frozen tables; freezing is optimal; a hostile weights file is a ModelError."""

import hashlib
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrain.entropy import tables
from regrain.entropy.tables import PRECISION, TOTAL, Table, freeze, gaussian_tables, pack, scales, unpack
from regrain.errors import ModelError, UsageError

DIGEST = "21757713e6dd6d744721b790eab24d2e8a9005f0d40bf1ad7e3d7e265cbd9028"


def gaussian(scale, table):
    """Probabilities of the table's own symbols under N(0, scale**2) in bins of width 1."""
    upper = NormalDist(0.0, scale)
    edges = np.arange(table.first, 1) - 0.5
    half = np.diff([upper.cdf(edge) for edge in edges] + [0.5])
    return np.concatenate([half[:-1], [2 * half[-1]], half[-2::-1]])


def expected_bits(probabilities, counts):
    return float(-(probabilities * np.log2(counts / TOTAL)).sum())


def test_scales_are_geometric_between_the_stated_ends():
    levels = scales()
    assert levels.shape == (64,)
    assert levels.dtype == np.float64
    assert levels[[0, -1]] == pytest.approx([0.11, 128.0], rel=1e-12)
    assert np.ptp(np.diff(np.log(levels))) < 1e-12


def test_gaussian_tables_never_change():
    content = pack(gaussian_tables()).astype("<i4").tobytes()
    assert hashlib.sha256(content).hexdigest() == DIGEST


@pytest.mark.parametrize("level", range(64))
def test_gaussian_table_is_whole_symmetric_unimodal_and_close(level):
    table, scale = gaussian_tables()[level], float(scales()[level])
    own, escape = table.counts[:-1].astype(np.int64), int(table.counts[-1])
    assert own.sum() + escape == TOTAL
    assert table.first == -(own.size // 2)
    assert (own == own[::-1]).all()
    assert (np.diff(own[: own.size // 2 + 1]) >= 0).all()
    exact = gaussian(scale, table)
    assert 1.0 - exact.sum() < 2.0**-PRECISION
    floor = expected_bits(exact, np.maximum(exact, 1e-300) * TOTAL)
    assert expected_bits(exact, own) - floor < 0.0005 * floor + 0.0003


def test_gaussian_tables_are_small_and_cannot_be_written_to():
    assert sum(table.size for table in gaussian_tables()) < 12_000
    with pytest.raises(ValueError, match="read-only"):
        gaussian_tables()[0].counts[0] = 2


def test_a_damaged_file_is_a_model_error(monkeypatch, tmp_path):
    np.save(tmp_path / "gaussian.npy", np.full(100, 60000, dtype="<u2"))
    monkeypatch.setattr(tables, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        gaussian_tables.__wrapped__()


rows = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60).filter(lambda row: sum(row) > 1e-6)


@settings(deadline=None)
@given(rows, st.floats(0.5, 1.0), st.integers(-1000, 1000))
def test_frozen_tables_keep_the_invariant_and_the_order(row, mass, first):
    probabilities = np.array(row) / sum(row) * mass
    table = freeze(probabilities, first)
    assert (table.first, table.size) == (first, len(row))
    assert int(table.counts.sum()) == TOTAL
    assert int(table.counts.min()) >= 1
    by_size = table.counts[:-1][np.argsort(probabilities, kind="stable")].astype(np.int64)
    assert np.diff(by_size).min(initial=0) >= -1


@settings(deadline=None)
@given(rows)
def test_no_move_of_one_count_shortens_the_expected_code(row):
    probabilities = np.array(row) / sum(row)
    counts = freeze(probabilities, 0).counts[:-1].astype(np.float64)
    gain = probabilities * np.log2((counts + 1) / counts)
    loss = np.where(counts > 1, probabilities * np.log2(counts / np.maximum(counts - 1, 1)), np.inf)
    assert gain.max() - loss.min() < 1e-3 / TOTAL + 2.0 * (probabilities / counts**2).max()


def test_probabilities_that_are_counts_already_survive():
    counts = np.array([5, 60000, 5000, 500, 31], dtype=np.uint32)
    assert freeze(counts[:-1] / TOTAL, -3).counts.tolist() == counts.tolist()


@pytest.mark.parametrize("row", [[], [np.nan], [np.inf], [-0.1, 0.5], [0.0], [0.9, 0.2], [[0.5]], np.full(TOTAL, 1e-6)])
def test_freeze_refuses_what_is_no_distribution(row):
    with pytest.raises(UsageError):
        freeze(np.array(row, dtype=np.float64), 0)


def test_freeze_takes_the_longest_row():
    assert (freeze(np.full(TOTAL - 1, 1.0 / TOTAL), 0).counts == 1).all()


@pytest.mark.parametrize(
    ("first", "counts"),
    [
        (0, [TOTAL]),
        (0, [0, TOTAL]),
        (0, [-1, TOTAL + 1]),
        (0, [1, 1]),
        (0, [[1, TOTAL - 1]]),
        (0, [0.5, TOTAL - 0.5]),
        (2**31 - 1, [1, 1, TOTAL - 2]),
        (-(2**31) - 1, [1, TOTAL - 1]),
    ],
)
def test_a_table_holds_its_invariant(first, counts):
    with pytest.raises(UsageError):
        Table(first, np.array(counts))


def test_pack_and_unpack_are_inverse():
    ends = (Table(-(2**31), np.array([1, TOTAL - 1])), Table(2**31 - 1, np.array([7, TOTAL - 7])))
    for group in [(), gaussian_tables(), ends]:
        packed = pack(group)
        assert packed.dtype == np.int32
        back = unpack(packed)
        assert [(t.first, t.counts.tolist()) for t in back] == [(t.first, t.counts.tolist()) for t in group]


small = pack([Table(-2, np.array([10, 20, 30, TOTAL - 60])), Table(0, np.array([1, TOTAL - 1]))])
int32s = st.integers(-(2**31), 2**31 - 1)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, small.size - 1), int32s | st.integers(-4, 12), st.integers(0, small.size))
def test_unpack_trusts_nothing(place, value, length):
    hostile = small.copy()
    hostile[place] = value
    for row in (hostile, hostile[:length]):
        try:
            for table in unpack(row):
                assert int(table.counts.sum()) == TOTAL
        except ModelError:
            pass


@pytest.mark.parametrize(("row", "kind"), [([], "i4"), ([[0]], "i4"), ([0], "f8"), ([1], "i8"), ([2**31 - 1], "i4")])
def test_unpack_refuses_other_arrays(row, kind):
    with pytest.raises(ModelError):
        unpack(np.array(row, dtype=kind))
