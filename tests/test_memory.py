"""What a picture needs and what a process may have, against a machine and control groups made of files."""

from dataclasses import replace

import numpy as np
import pytest

import regrain
from regrain import memory
from regrain.bitstream import Header, Method
from regrain.errors import LimitError

GB = 10**9


def header(width: int, height: int, tile: int = 1024, method: Method = Method.CONDITIONAL) -> Header:
    return Header(width, height, 0, b"four", method, tile=tile)


def test_a_thumbnail_fits_a_small_machine():
    assert 0.205 * GB < memory.need(header(96, 80), torch=False) < 0.25 * GB
    assert 0.39 * GB < memory.need(header(96, 80)) < 0.5 * GB
    memory.check("decoding", header(256, 256), limit=GB // 2, torch=False)


def test_more_of_anything_needs_more():
    least = memory.need(header(8000, 6000))
    assert least < memory.need(header(8000, 6000), steps=2)
    assert memory.need(header(8000, 6000), second_order=True) == least
    assert memory.need(header(8000, 6000), 2) + GB // 2 < memory.need(header(8000, 6000), 2, second_order=True)
    assert least < memory.need(header(8000, 6000, method=Method.PROGRESSIVE))
    assert least + 3 * GB < memory.need(header(8000, 6000, tile=8192))
    assert memory.need(header(1, 60000)) < memory.need(header(16, 60000))
    assert memory.map_bytes(header(100, 100), (0, 0, 50, 20)) * 10 == memory.map_bytes(header(100, 100), None)


def test_contexts_of_the_sampler_are_counted_as_long_as_they_are_kept():
    kept, anew = header(3300, 3200), header(3300, 3600)
    apart = [memory.need(kept, steps) - memory.need(replace(kept, method=Method.PALETTE), steps) for steps in (1, 2)]
    assert apart == [0, 42 * 256 * 207 * 200]
    assert memory.need(anew, 2) == memory.need(replace(anew, method=Method.PALETTE), 2)
    assert memory.need(replace(anew, grey=True), 2) > memory.need(anew, 2)


def test_a_map_of_chance_is_counted():
    data = regrain.encode(np.zeros((80, 96, 3), np.uint8), quality=0)
    enough = memory.need(header(96, 80), 2, torch=False) + 16 * 96 * 80
    assert regrain.deviation_map(data, seeds=2, realism=0, max_memory=enough).shape == (80, 96)
    with pytest.raises(LimitError, match=r"^decoding 96 x 80 in 2 steps needs"):
        regrain.deviation_map(data, seeds=2, realism=0, max_memory=enough - 1)
    regrain.decode(data, steps=2, realism=0, max_memory=enough - 1)


@pytest.mark.parametrize(
    ("side", "steps", "peak"), [((4000, 3000), 1, 0.734), ((4000, 3000), 2, 0.878), ((3200, 3200), 2, 1.370)]
)
def test_a_large_picture_needs_no_more_than_is_said_and_not_much_less(side, steps, peak):
    """The peaks of decoding on ONNX Runtime, 1 or 2 threads, at quality 50."""
    assert peak * GB < memory.need(header(*side), steps, torch=False) < 1.3 * peak * GB


def test_the_message_says_the_figures_and_the_flag():
    with pytest.raises(LimitError, match=r"^encoding 8000 x 6000 .* allowed are 900 MB, see --max-memory$"):
        memory.check("encoding", header(8000, 6000), limit=900_000_000)


@pytest.mark.parametrize(
    ("line", "file", "text", "wanted"),
    [
        ("0::/a/b", "memory.max", "3000000000\n", 1_500_000_000),
        ("0::/a/b", "a/memory.max", "3000000000\n", 1_500_000_000),
        ("0::/a/b", "a/b/memory.max", "max\n", None),
        ("4:memory:/a", "memory/a/memory.limit_in_bytes", "2000000000\n", 1_000_000_000),
        ("4:memory:/not/here", "memory/memory.limit_in_bytes", "2000000000\n", 1_000_000_000),
        ("4:cpu,memory:/a", "memory/a/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("7:cpu:/a", "memory/a/memory.limit_in_bytes", "2000000000\n", None),
        ("nonsense", "memory.max", "nonsense", None),
    ],
)
def test_control_groups_are_heeded(tmp_path, monkeypatch, line, file, text, wanted):
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10**7}.__getitem__, raising=False)
    place = tmp_path / "sys/fs/cgroup" / file
    for path, content in ((tmp_path / "proc/self/cgroup", f"{line}\n"), (place, text)):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert memory.allowance(tmp_path) == (wanted or 20_480_000_000)


def test_a_system_that_does_not_say_what_it_has_has_8_gb(tmp_path, monkeypatch):
    monkeypatch.delattr("os.sysconf", raising=False)
    assert memory.allowance(tmp_path) == 4 * GB
