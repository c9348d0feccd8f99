"""The public face is exactly this: names, signatures, the tree of errors, and an import that costs nothing."""

import doctest
import importlib
import inspect
import io
import subprocess
import sys
import tomllib
import typing
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import regrain
from regrain import errors

ERRORS = {
    "RegrainError": (Exception, 1),
    "UsageError": (errors.RegrainError, 2),
    "ImageError": (errors.RegrainError, 3),
    "BitstreamError": (errors.RegrainError, 4),
    "NotRegrain": (errors.BitstreamError, 4),
    "UnsupportedVersion": (errors.BitstreamError, 4),
    "Truncated": (errors.BitstreamError, 4),
    "Corrupt": (errors.BitstreamError, 4),
    "ModelError": (errors.RegrainError, 5),
    "LimitError": (errors.RegrainError, 6),
    "OutputError": (errors.RegrainError, 7),
}
TYPES = {"Info", "Latents", "Model", "Picturelike"}
WORKERS = {"Decoder", "Encoder", "decode_many", "encode_many"}
HALVES = {"from_latents", "latents"}
PRETRAINED = {"from_pretrained", "push_to_hub", "save_pretrained"}
RETURNS = {
    "encode": bytes,
    "decode": Image.Image,
    "inspect": regrain.Info,
    "deviation_map": np.ndarray,
    "sample": np.ndarray,
    "repair": Image.Image,
}
SIGNATURES = {
    "encode": {
        "image": inspect.Parameter.empty,
        "quality": None,
        "target_size": None,
        "target_bpp": None,
        "target_psnr": None,
        "target_ssimulacra2": None,
        "effort": 0,
        "tile": 1024,
        "method": None,
        "content": "auto",
        "model": None,
        "device": None,
        "max_pixels": 250_000_000,
        "max_memory": None,
    },
    "decode": {
        "data": inspect.Parameter.empty,
        "steps": None,
        "budget": None,
        "realism": 1.0,
        "eta": 0.0,
        "seed": 0,
        "init_noise": 1.0,
        "sampler": "ddim",
        "realism_map": None,
        "partial": False,
        "fill": False,
        "region": None,
        "max_size": None,
        "repair": None,
        "repair_strength": None,
        "fast": False,
        "model": None,
        "device": None,
        "max_pixels": 250_000_000,
        "max_memory": None,
    },
    "repair": {
        "image": inspect.Parameter.empty,
        "strength": 1.0,
        "steps": 1,
        "eta": 0.0,
        "seed": 0,
        "model": None,
        "device": None,
        "max_pixels": 250_000_000,
        "max_memory": None,
    },
    "deviation_map": {
        "data": inspect.Parameter.empty,
        "seeds": 8,
        "seed": 0,
        "options": inspect.Parameter.empty,
    },
    "inspect": {"data": inspect.Parameter.empty},
    "load": {"path": None, "device": None, "download": False},
    "sample": {
        "count": 1,
        "size": (64, 64),
        "steps": 50,
        "eta": 0.0,
        "sampler": "ddim",
        "schedule": "log-linear",
        "seed": 0,
        "model": None,
        "device": None,
        "max_memory": None,
    },
}


def test_names():
    assert set(regrain.__all__) == {*SIGNATURES, *ERRORS, *TYPES, *WORKERS, *HALVES, *PRETRAINED, "__version__"}
    ours = {name for name, value in vars(regrain).items() if getattr(value, "__module__", None) == "regrain"}
    assert {name for name in ours if not name.startswith("_")} == set(SIGNATURES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    parameters = inspect.signature(getattr(regrain, name)).parameters
    assert {key: value.default for key, value in parameters.items()} == SIGNATURES[name]


def test_error_tree():
    assert set(errors.__all__) == set(ERRORS)
    for name, (parent, code) in ERRORS.items():
        kind = getattr(regrain, name)
        assert kind is getattr(errors, name)
        assert kind.__bases__[0] is parent
        assert kind.exit_code == code


def test_the_version_is_written_once():
    root = Path(__file__).resolve().parents[1]
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in settings["project"]
    assert (root / settings["tool"]["hatch"]["version"]["path"]).samefile(regrain.__file__)


@pytest.mark.parametrize("module", ["regrain", "regrain.cli"])
def test_import_loads_nothing_heavy(module):
    heavy = "('torch', 'numpy', 'PIL', 'safetensors', 'constriction')"
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


REFUSED = {
    "encode": {
        "quality": [-0.1, 100.1, float("nan"), "50", True, [1], b"5", np.bool_(True), np.ones(1), torch.ones(1), 1j],
        "target_size": [0, -5, 1.5, 2**70],
        "target_bpp": [-1, float("inf")],
        "target_psnr": [-1, 100.1, float("nan"), float("inf"), "30", True],
        "target_ssimulacra2": [-0.1, 101, float("nan"), "70", [70]],
        "effort": [-1, 10, 2.5, "9"],
        "tile": [0, 63, 2**16, None, "64", 64.0],
        "method": ["jpeg", 3, b"palette"],
        "content": ["photos", None, b"screen", 1],
        "device": [3, torch.device("cpu"), b"cpu"],
        "model": [3, b"palette", ["palette"]],
        "max_pixels": [0, None, np.ones(2, int), 1e6],
    },
    "decode": {
        "steps": [0, 1001, 1.0, "many", np.float64(2), "Auto"],
        "realism": [-0.01, 1.01, None.__class__, None],
        "eta": [None],
        "seed": [-1, 2**64, "0", None],
        "init_noise": [-0.01, 1.01, "1", None],
        "sampler": ["euler", None, 1],
        "partial": [None, "no", 1],
        "fill": [None, "no", 1],
        "fast": [None, "no", 1],
        "region": [(0, 0, 1), "0,0,1,1", (0.0, 0, 1, 1)],
        "max_size": [0, 1.5],
        "max_pixels": [None],
        "max_memory": [0],
        "model": [3],
        "device": [3],
    },
}


@pytest.mark.parametrize(("function", "name"), [(function, name) for function in REFUSED for name in REFUSED[function]])
def test_what_is_out_of_range_or_of_a_wrong_type_is_refused_before_anything_is_read(function, name):
    for value in REFUSED[function][name]:
        with pytest.raises(regrain.UsageError, match=rf"^{name} is [^\n]*; allowed (is|are) [^\n]*$"):
            getattr(regrain, function)("there is no such file", **{name: value})


def test_a_region_and_a_size_do_not_go_together():
    with pytest.raises(regrain.UsageError, match=r"^region and max_size are given together"):
        regrain.decode("there is no such file", region=(0, 0, 1, 1), max_size=3)


@pytest.mark.parametrize("sampler", ["ancestral", "second-order"])
def test_eta_goes_with_ddim_alone(sampler):
    with pytest.raises(regrain.UsageError, match=f"eta is 0.5 and the sampler {sampler}"):
        regrain.decode("there is no such file", sampler=sampler, eta=0.5)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"seeds": 1}, r"^seeds is 1; allowed is a whole number from 2"),
        ({"quality": 3}, r"^quality is no option of deviation_map"),
        ({"budget": 3}, r"^budget is 3 and steps are 2"),
    ],
)
def test_a_deviation_map_refuses_options_before_it_reads(options, error):
    with pytest.raises(regrain.UsageError, match=error):
        regrain.deviation_map("there is no such file", **options)


@pytest.mark.parametrize("budget", [-1, float("nan"), float("inf"), "2", True])
def test_a_budget_is_refused_before_it_reads(budget):
    with pytest.raises(regrain.UsageError, match=r"^budget is .*; allowed is "):
        regrain.decode("there is no such file", steps="auto", budget=budget)
    with pytest.raises(regrain.UsageError, match=r"^budget is 2 and steps are 4; .* steps 'auto'"):
        regrain.decode("there is no such file", steps=4, budget=2)


@pytest.mark.parametrize("pair", [*combinations(["quality", "target_size", "target_bpp", "target_psnr"], 2)])
def test_two_rates_are_one_too_many(pair):
    rates = {name: {"target_bpp": 0.5}.get(name, 50) for name in pair}
    with pytest.raises(regrain.UsageError, match=" and ".join(rates)):
        regrain.encode("there is no such file", **rates)


def test_reading_takes_every_kind_of_source_and_no_more_than_it_needs(tmp_path):
    from regrain import bitstream

    header = bitstream.Header(40, 30, 12800, b"\1\2\3\4")
    whole = bitstream.write(bitstream.Stream(header, (bytes(1000),)))
    (tmp_path / "a.rgn").write_bytes(whole)
    for source in (whole, bytearray(whole), io.BytesIO(whole), tmp_path / "a.rgn", str(tmp_path / "a.rgn")):
        assert regrain._read(source) == whole

    class Endless(io.RawIOBase):
        def read(self, size=-1):
            assert size > 0, "read to the end of an endless stream"
            return bytes(size)

    class Trickle(io.RawIOBase):
        left = whole

        def read(self, size=-1):
            piece, self.left = self.left[:3], self.left[3:]
            return piece

    assert 0 < len(regrain._read(Endless())) < 1000
    assert regrain._read(Trickle()) == whole


def test_a_file_that_goes_on_for_ever_is_given_up(monkeypatch):
    from regrain import bitstream

    monkeypatch.setattr(regrain.files, "_OTHER_BYTES", 2**22)
    header = bitstream.Header(40, 30, 12800, b"\1\2\3\4")
    whole = bitstream.write(bitstream.Stream(header, (bytes(1000),)))

    class Endless(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            self.taken += size
            return (super().read(size) or bytes(size))[:size]

    file = Endless(whole)
    with pytest.raises(regrain.Corrupt, match=r"goes on after \d+ bytes, more than 40 x 30 pixels can take"):
        regrain.inspect(file)
    assert file.taken < 2**23


@pytest.mark.parametrize("source", [io.StringIO("text"), 17, None])
def test_what_is_no_source_is_named(source):
    with pytest.raises(regrain.UsageError, match=f"data is a {type(source).__name__}"):
        regrain._read(source)


@pytest.mark.parametrize("name", ["absent.rgn", ".", "nul\0.rgn"])
def test_a_path_that_cannot_be_read_is_one_line(tmp_path, name):
    with pytest.raises(regrain.BitstreamError, match=r"^cannot read [^\n]*$"):
        regrain._read(str(tmp_path / name))


def test_a_stream_that_cannot_be_read_is_one_line(tmp_path):
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(regrain.BitstreamError, match=r"^cannot read the BytesIO: I/O operation on closed file"):
        regrain.decode(closed)
    with (tmp_path / "a").open("wb") as file, pytest.raises(regrain.BitstreamError, match=r"^cannot read the Buffered"):
        regrain.inspect(file)


def test_a_huge_number_is_refused_in_few_words():
    with pytest.raises(regrain.UsageError, match=r"^seed is (a huge int|\d[^;]{0,60}); allowed is"):
        regrain.decode("there is no such file", seed=10**5000)


@pytest.mark.parametrize("name", SIGNATURES)
def test_type_hints_are_resolved(name):
    hints = typing.get_type_hints(getattr(regrain, name))
    assert set(hints) == {*SIGNATURES[name], "return"}
    assert hints["return"] == RETURNS.get(name, regrain.Model)


def test_types_are_importable_and_other_names_are_not():
    assert {name for name in TYPES if hasattr(regrain, name)} == TYPES
    for module in (regrain, regrain.types):
        with pytest.raises(AttributeError, match="Elsewhat"):
            module.Elsewhat  # noqa: B018
    assert typing.get_type_hints(regrain.Info)["quality"] is float


@pytest.mark.parametrize(("name", "value"), [("path", 3), ("path", b"palette"), ("device", 3)])
def test_load_refuses_wrong_types(name, value):
    with pytest.raises(regrain.UsageError, match=f"^{name} is .*; allowed is "):
        regrain.load(**{name: value})


def test_numbers_of_other_libraries_are_taken_as_python_has_them():
    given = {"quality": torch.tensor(30), "tile": np.int64(64), "seed": torch.tensor(7), "realism": Fraction(1, 2)}
    values = regrain.options.check_arguments(**given, eta=np.float32(0.5), partial=np.True_)
    assert values == {"quality": 30.0, "tile": 64, "seed": 7, "realism": 0.5, "eta": 0.5, "partial": True}
    assert [type(value) for value in values.values()] == [float, int, int, float, float, bool]


HOUSE = Path(regrain.__file__).parents[1]
EXAMPLES = [
    ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((HOUSE / "regrain").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_docstrings_run(name):
    """Of the public functions, and of others whose use one line shows."""
    if name == "regrain.server.site":
        pytest.importorskip("starlette", reason="needs Starlette, of regrain[serve]")
        pytest.importorskip("httpx2", reason="needs httpx2, which Starlette tests with")
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted
    assert not outcome.failed
