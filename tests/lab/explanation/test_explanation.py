"""A photo explained: every figure is this photo's, every knob turns something, and a failure leaves nothing behind."""

import math
import re
from functools import cache

import numpy as np
import pytest
from PIL import Image

from regrain import image, registry
from regrain.cli import main
from regrain.diffusion.schedule import get
from regrain.errors import LimitError
from regrain_lab.evaluation import charts
from regrain_lab.explanation import forward, reverse
from regrain_lab.explanation.report import FILES, HTML, explain
from regrain_lab.explanation.spending import spend
from regrain_lab.explanation.subject import Subject


def photo_of(height, width, channels=3, alpha=None):
    rows, columns = np.mgrid[:height, :width]
    planes = [(8 * rows + 5 * columns + 40 * c + 60 * ((rows // 3 + columns // 2) % 2)) % 256 for c in range(channels)]
    return image.Picture(np.stack(planes, -1).astype(np.uint8), alpha)


@pytest.fixture
def no_charts(monkeypatch):
    """Charts cost most of the time; one test draws them."""
    monkeypatch.setattr(charts, "draw", lambda panels, colours: {"png": repr(panels).encode()})


@cache
def page_of(side=16, **knobs):
    """The words of a page; a page that is asked for again is not made again."""
    return words(explain(Subject("a.png", photo_of(40, 56), side), **{"steps": 2, **knobs}))


def words(files):
    return re.sub(r"<[^>]*>", " ", files[HTML].decode())


def test_the_page_holds_every_picture_and_no_open_mark():
    files = explain(Subject("a.png", photo_of(40, 56), 16), steps=2)
    assert set(files) == set(FILES)
    assert all(files[name].startswith(b"\x89PNG") for name in FILES if name != HTML)
    page = files[HTML].decode()
    assert page.count("data:image/png;base64,") == len(FILES) - 1
    assert "http" not in words(files)
    assert "<!-- " not in page
    assert "The photo has 56 x 40 pixels. Noise is added to a copy of 16 x 11" in page


@pytest.mark.parametrize(
    "knobs", [{"seed": 1}, {"steps": 3}, {"side": 24}, {"quality": 90.0}, {"target_size": 200}, {"target_bpp": 1.0}]
)
def test_every_knob_turns_something(no_charts, knobs):
    assert page_of(**knobs) != page_of()


@pytest.mark.parametrize(
    "photo",
    [photo_of(1, 1), photo_of(1, 90), photo_of(30, 20, 1), photo_of(9, 17, alpha=np.eye(9, 17, dtype=np.uint8))],
)
def test_photos_of_any_kind(no_charts, photo):
    page = words(explain(Subject("b", photo, 16), steps=1))
    assert f"The photo has {photo.width} x {photo.height} pixels" in page
    assert "nan" not in page


def test_what_a_name_may_hold_is_no_mark_up(no_charts):
    page = explain(Subject("<b>*_x_*", photo_of(8, 8), 8), steps=1)[HTML].decode()
    assert "do with &lt;b&gt;*_x_*<" in page


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_chain_and_the_jump_are_one_distribution(name):
    x_0 = Subject("c", photo_of(64, 64), 64).x_0
    values, power = x_0.size, float((x_0**2).sum())
    for state in list(forward.chain(x_0, get(name), 3))[1:]:
        for x in (state.x, forward.jump(x_0, get(name), state.n, 4)):
            weight, deviation = state.measure(x, x_0)
            assert abs(weight - state.alpha) < 5 * state.sigma / math.sqrt(power)
            assert abs(deviation - state.sigma) < 5 * state.sigma / math.sqrt(2 * values)


def test_without_scaling_the_variance_is_that_of_the_sum_of_all_steps():
    x_0 = Subject("c", photo_of(64, 64), 64).x_0
    *_, last = forward.chain(x_0, get("linear"), 0)
    betas = np.linspace(1e-4, 0.02, 1000)
    assert last.unscaled_variance == pytest.approx(x_0.var() + betas.sum(), rel=1e-4)
    assert last.unscaled.var() == pytest.approx(last.unscaled_variance, rel=0.05)
    assert last.x.var() == pytest.approx(1, rel=0.05)


def test_a_histogram_is_a_density():
    points = forward.histogram(np.random.default_rng(0).standard_normal(10_000).astype(np.float32))
    assert sum(density for _, density in points) * (points[1][0] - points[0][0]) == pytest.approx(1, abs=1e-3)


def test_the_way_back_keeps_what_x_t_says():
    """From little noise the same picture comes back; from noise alone another, which the photo has no part in."""
    subject, denoiser = Subject("c", photo_of(32, 32), 32), registry.prior_for().denoiser
    x_0, other = subject.x_0, Subject("d", photo_of(32, 32, 1), 32).x_0
    (_, near), (_, free) = (reverse.descend(denoiser, x_0, start, 4, 0, lambda: None) for start in (6.0, None))
    assert reverse.rmse(near, x_0) < reverse.rmse(free, x_0) / 2
    assert (reverse.descend(denoiser, other, None, 4, 0, lambda: None)[1] == free).all()


def test_the_estimates_of_the_bound_are_the_model_s():
    x_0, denoiser, passes = Subject("c", photo_of(16, 16), 16).x_0, registry.prior_for().denoiser, []
    bound, estimates = reverse.measure_bound(denoiser, x_0, 5, 0, lambda: passes.append(1))
    assert [round(one.log_snr) for one in estimates] == [-10, -6, -2, 2, 6]
    assert len(passes) == 5
    assert bound.steps.shape == (1, 4)
    assert (bound.steps > 0).all()


def test_the_bits_by_step_and_by_place_are_those_of_the_file():
    spending = spend(photo_of(200, 150), quality=60)
    latents = sum(section["length"] for section in spending.info.sections if section["tile"] is not None)
    bits = sum(group.bits for group in spending.groups)
    assert 0 <= 8 * latents - bits < 128
    assert spending.places.shape == (13, 10)
    assert spending.places.sum() == pytest.approx(bits - spending.groups[0].bits, rel=1e-5)
    assert sum(group.symbols for group in spending.groups[1:]) == 256 * 130


def test_spending_over_several_tiles_covers_every_place():
    spending = spend(photo_of(24, 1040), quality=60)
    assert (spending.places > 0).mean() > 0.9
    with pytest.raises(LimitError):
        spend(photo_of(24, 1040), quality=60, max_memory=1000)


@pytest.fixture
def cheap(monkeypatch):
    """The page costs nothing; the command around it is real."""
    calls = []

    def made(subject, **knobs):
        calls.append((subject, knobs))
        return {name: name.encode() for name in FILES}

    monkeypatch.setattr("regrain_lab.explanation.report.explain", made)
    return calls


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo_of(20, 30).pixels).save("a.png")
    return tmp_path


def test_the_command_s_flags_reach_the_page(photo, cheap, capsys):
    assert main(["explain", "a.png"]) == 0
    flags = ["--size", "64", "--steps", "7", "--seed", "3", "--target-size", "20k", "--overwrite"]
    assert main(["explain", "a.png", "a.explained", *flags]) == 0
    (first, plain), (second, knobs) = cheap
    assert (first.name, first.side, plain["quality"], plain["steps"]) == ("a.png", 256, 50.0, 40)
    assert (second.side, knobs["steps"], knobs["seed"], knobs["target_size"]) == (64, 7, 3, 20_000)
    assert {path.name for path in (photo / "a.explained").iterdir()} == set(FILES)
    assert "pictures 12" in capsys.readouterr().err


def test_other_files_of_the_folder_stay(photo, cheap):
    (photo / "out").mkdir()
    (photo / "out" / "mine").write_bytes(b"kept")
    assert main(["explain", "a.png", "out", "--quiet"]) == 0
    assert {path.name for path in (photo / "out").iterdir()} == {*FILES, "mine"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["a.png", "file"], 7, "is no folder"),
        (["a.png", "file/inner"], 7, "is no folder"),
        (["a.png", "there"], 7, "exists; --overwrite replaces it"),
        (["a.png", "-"], 2, "several files"),
        (["-"], 2, "several files"),
        (["none.png", "new"], 3, "none.png"),
        (["file", "new"], 3, "file"),
        (["a.png", "new", "--max-pixels", "10"], 6, "--max-pixels"),
        (["a.png", "new", "--size", "7"], 2, "from 8 to 1024"),
        (["a.png", "new", "--steps", "0"], 2, "steps is 0"),
        (["a.png", "new", "--seed", "-1"], 2, "seed is -1"),
        (["a.png", "new", "-q", "101"], 2, "quality is 101"),
        (["a.png", "new", "b.png"], 2, "one name too many"),
    ],
)
def test_every_refusal_is_one_line_and_leaves_nothing(photo, cheap, capsys, arguments, code, text):
    (photo / "file").write_bytes(b"no picture")
    (photo / "there").mkdir()
    (photo / "there" / HTML).write_bytes(b"kept")
    assert main(["explain", *arguments]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert text in error
    assert {path.name for path in photo.iterdir()} == {"a.png", "file", "there"}
    assert [path.name for path in (photo / "there").iterdir()] == [HTML]
