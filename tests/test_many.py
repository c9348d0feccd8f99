"""decode_many and encode_many: the loop's results in the loop's order, several at once, with bounds; and threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import pytest

import regrain
from regrain import memory
from regrain.bitstream import Header, Method, read_header
from regrain.workers import _torch_at_most

SIDES = [(24, 40), (56, 72), (16, 16), (40, 24), (24, 24), (72, 56), (33, 17), (24, 40)]
PIXELS = [np.random.default_rng(seed).integers(0, 256, (*side, 3), np.uint8) for seed, side in enumerate(SIDES)]


@pytest.fixture(scope="module")
def files():
    return [regrain.encode(pixels, quality=30) for pixels in PIXELS]


def same(one, other):
    return one.size == other.size and (np.asarray(one) == np.asarray(other)).all()


def running():
    return [thread for thread in threading.enumerate() if thread.name.startswith("regrain")]


@pytest.fixture
def slow(monkeypatch):
    """Decoding and encoding take a while and compute nothing; how many ran at once, at most."""
    lock, now, most, made = threading.Lock(), [0], [0], []

    class Picture:
        def __init__(self, data):
            self.data = data

        def to_pillow(self):
            return self.data

    def work(data, **_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
            made.append(data)
        return Picture(data)

    for name in ("decode", "encode"):
        monkeypatch.setattr(f"regrain.codec.{name}", work)
    return most, made


@pytest.mark.parametrize("options", [{}, {"steps": 2, "realism": 0.5, "seed": 7, "eta": 1.0}, {"max_size": 4}])
def test_the_pictures_are_those_of_the_loop_in_its_order(files, options):
    many = list(regrain.decode_many(iter(files), jobs=3, **options))
    assert len(many) == len(files)
    assert all(same(one, regrain.decode(data, **options)) for one, data in zip(many, files, strict=True))


def test_the_files_are_those_of_the_loop_in_its_order(files):
    assert list(regrain.encode_many(iter(PIXELS), jobs=3, quality=30)) == files
    small = list(regrain.encode_many(PIXELS, jobs=3, quality=5))
    assert small == [regrain.encode(pixels, quality=5) for pixels in PIXELS]
    assert small != files


def test_weights_of_a_path_are_read_once_and_loaded_ones_are_taken(files, monkeypatch):
    wanted = regrain.decode(files[0], realism=0)
    assert same(next(regrain.decode_many(files, model=regrain.load(), realism=0)), wanted)
    from regrain import registry

    path = registry.shipped_weights(regrain.load().method)
    calls, load = [], registry.load
    monkeypatch.setattr(registry, "load", lambda *given: calls.append(given) or load(*given))
    assert same(next(regrain.decode_many(files, model=path, realism=0)), wanted)
    assert len(calls) == 1


@pytest.mark.parametrize(("jobs", "ahead"), [(1, 1), (2, 2), (2, 5), (3, None), (4, 2)])
def test_items_are_taken_when_there_is_room_and_few_run_at_once(files, slow, jobs, ahead):
    most, taken, got = slow[0], 0, 0

    def source():
        nonlocal taken
        for data in files:
            taken += 1
            assert taken - got <= (ahead or 2 * jobs)
            yield data

    pictures = regrain.decode_many(source(), jobs=jobs, ahead=ahead)
    assert taken == 0
    for data in pictures:
        assert data == files[got]
        got += 1
    assert got == len(files)
    assert most[0] == min(jobs, ahead or 2 * jobs)


def test_where_memory_is_short_fewer_run_at_once(files, slow):
    most = slow[0]
    needs = [memory.need(read_header(data), torch=False) for data in files]
    assert list(regrain.decode_many(files, jobs=4, max_memory=max(needs))) == files
    assert most[0] < 4
    most[0] = 0
    assert list(regrain.decode_many(files, jobs=4, max_memory=sum(needs))) == files
    assert most[0] == 4


@pytest.mark.parametrize("options", [{"effort": 2}, {"target_psnr": 30}, {}])
def test_what_effort_and_targets_take_counts_where_several_are_encoded(slow, options):
    header = Header(512, 512, 0, bytes(4), Method.CONDITIONAL)
    room = memory.need(header, torch=False) + memory.beside_encoding(header, None, 0, torch=False, screen=True)
    plain = [np.zeros((512, 512, 3), np.uint8)] * 4
    one, libraries = room - memory.LIBRARIES[False], memory.libraries(torch=False, effort="effort" in options)
    list(regrain.encode_many(plain, jobs=4, ahead=4, max_memory=libraries + 4 * one, **options))
    most = slow[0][0]
    assert most < 3 if options else most == 4


def test_under_effort_one_is_encoded_at_once_where_nobody_says_more(monkeypatch):
    names = set()
    monkeypatch.setattr("regrain.codec.encode", lambda *_, **__: names.add(threading.current_thread().name) or b"")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    list(regrain.encode_many(PIXELS, effort=1))
    assert len(names) == 1


def test_a_picture_over_the_limit_is_refused_as_by_the_loop(files):
    with pytest.raises(regrain.LimitError, match="allowed are 1 MB"):
        list(regrain.decode_many(files, max_memory=10**6))


def test_an_error_is_raised_in_its_place_and_ends_the_threads(files):
    pictures = regrain.decode_many([*files[:3], b"no file", *files[3:]], jobs=2, realism=0)
    assert len(list(islice(pictures, 3))) == 3
    with pytest.raises(regrain.NotRegrain):
        next(pictures)
    assert not running()


def test_an_error_is_returned_in_its_place(files, tmp_path):
    broken = bytes([*files[1][:-1], files[1][-1] ^ 1])
    items = [files[0], b"no file", tmp_path / "absent", broken, files[2]]
    out = list(regrain.decode_many(items, jobs=2, realism=0, on_error="return"))
    kinds = ["Image", "NotRegrain", "BitstreamError", "Corrupt", "Image"]
    assert [type(one).__name__ for one in out] == kinds
    out = list(regrain.encode_many([PIXELS[0], b"no picture", PIXELS[1]], quality=30, on_error="return"))
    assert (out[0], out[2], type(out[1])) == (files[0], files[1], regrain.ImageError)


@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_what_the_source_raises_comes_after_the_pictures_before_it(files, on_error):
    def source():
        yield from files[:2]
        raise regrain.ImageError("the source's own")

    pictures = regrain.decode_many(source(), jobs=4, realism=0, on_error=on_error)
    assert len(list(islice(pictures, 2))) == 2
    with pytest.raises(regrain.ImageError, match="the source's own"):
        next(pictures)
    assert not running()


def test_closing_early_ends_the_threads_and_does_no_more(files, slow):
    made = slow[1]
    pictures = regrain.decode_many(files, jobs=2, ahead=6)
    assert next(pictures) == files[0]
    assert running()
    pictures.close()
    assert not running()
    assert len(made) <= 4
    assert list(pictures) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jobs": 0}, "^jobs is 0; allowed is a whole number from 1 to 1024"),
        ({"ahead": 0}, "^ahead is 0; allowed"),
        ({"on_error": "ignore"}, "^on_error is 'ignore'; allowed are raise, return"),
        ({"keep": ()}, "^keep is no option of (de|en)code_many"),
        ({"model": 3}, "^model is 3; allowed"),
    ],
)
def test_options_are_refused_at_the_call(options, words):
    for function in (regrain.decode_many, regrain.encode_many):
        with pytest.raises(regrain.UsageError, match=words):
            function([], **options)
    with pytest.raises(regrain.UsageError, match="budget is 3"):
        regrain.decode_many([], budget=3)
    for call in (lambda **knobs: regrain.decode_many([], **knobs), regrain.Decoder):
        with pytest.raises(regrain.UsageError, match="fast is given and steps are 2"):
            call(fast=True, steps=2)


def test_a_budget_is_that_of_each_picture(files):
    assert [one.size for one in regrain.decode_many(files, steps="auto", budget=0.01)] == [
        (width, height) for height, width in SIDES
    ]


@pytest.mark.parametrize("realism", [0.0, 0.5])
def test_eight_threads_decode_at_once_as_one_does(files, realism):
    model = regrain.load()  # fresh: the threads make its networks, too
    start = threading.Barrier(8)

    def decode(number):
        start.wait()
        return [regrain.decode(files[(number + k) % 8], model=model, steps=2, realism=realism) for k in range(2)]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(decode, range(8)))
    wanted = [regrain.decode(data, steps=2, realism=realism) for data in files]
    for number, pictures in enumerate(results):
        assert all(same(picture, wanted[(number + k) % 8]) for k, picture in enumerate(pictures))


def test_threads_of_different_realism_do_not_mix(files):
    model, levels = regrain.load(), [0.2, 0.5, 0.8]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda level: regrain.decode(files[1], model=model, steps=2, realism=level), levels))
    wanted = [regrain.decode(files[1], steps=2, realism=level) for level in levels]
    assert all(same(one, other) for one, other in zip(results, wanted, strict=True))
    assert not same(wanted[0], wanted[-1])


def test_torch_has_its_threads_back_when_several_have_capped_it():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    capped, released = threading.Event(), threading.Event()

    def later():  # begins within the first cap and ends after it
        capped.wait()
        with _torch_at_most(before + 2):
            assert torch.get_num_threads() == before + 2
            both.set()
            released.wait()

    both = threading.Event()
    thread = threading.Thread(target=later)
    thread.start()
    with _torch_at_most(before + 1):
        capped.set()
        both.wait()
        assert torch.get_num_threads() == before + 1
    released.set()
    thread.join()
    with ThreadPoolExecutor(1) as pool:  # a new thread has what the process says
        assert pool.submit(torch.get_num_threads).result() == before
    assert torch.get_num_threads() == before
