"""LPIPS: its invariants on random weights, and figures of the published weights measured elsewhere."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lab.metrics import waves
from regrain.errors import ModelError, UsageError
from regrain_lab.evaluation import baselines
from regrain_lab.metrics.lpips import Lpips

SHARED = Path(os.environ.get("REGRAIN_SHARED", Path(__file__).parents[3] / "shared"))
WEIGHTS = SHARED / "data" / "weights"
MEASURED = SHARED / "data" / "reference_rd" / "kodak_measured.csv"
BACKBONES = ("alex", "squeeze")

ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128)} | {
    9: (256, 48, 192),
    10: (384, 48, 192),
    11: (384, 64, 256),
    12: (512, 64, 256),
}
LINS = {"alex": (64, 192, 384, 256, 256), "squeeze": (64, 128, 256, 384, 384, 512, 512)}


def random_weights(backbone: str) -> dict[str, torch.Tensor]:
    """Tensors of the right names and shapes, scaled so that activations neither vanish nor grow."""
    draw = torch.Generator().manual_seed(7)
    convolutions = {f"features.{n}": shape for n, shape in ALEX.items()}
    if backbone == "squeeze":
        convolutions = {"features.0": (64, 3, 3)}
        for n, (inputs, squeezed, expanded) in FIRES.items():
            convolutions[f"features.{n}.squeeze"] = (squeezed, inputs, 1)
            convolutions[f"features.{n}.expand1x1"] = (expanded, squeezed, 1)
            convolutions[f"features.{n}.expand3x3"] = (expanded, squeezed, 3)
    tensors = {f"lin{n}.weight": torch.rand(1, width, 1, 1, generator=draw) for n, width in enumerate(LINS[backbone])}
    for name, (outputs, inputs, side) in convolutions.items():
        spread = (2 / (inputs * side**2)) ** 0.5
        tensors[f"{name}.weight"] = spread * torch.randn(outputs, inputs, side, side, generator=draw)
        tensors[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=draw)
    return tensors


def load(tensors: dict[str, torch.Tensor], folder: Path) -> Lpips:
    save_file(tensors, folder / "lpips.safetensors")
    return Lpips.load(folder / "lpips.safetensors")


@pytest.fixture(params=BACKBONES, scope="module")
def lpips(request, tmp_path_factory) -> Lpips:
    return load(random_weights(request.param), tmp_path_factory.mktemp(request.param))


def pair(batch: int = 2, height: int = 48, width: int = 67) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    a, b = (2 * torch.rand(batch, 3, height, width, generator=draw) - 1 for _ in range(2))
    return a, b


def test_it_is_a_distance_per_picture(lpips):
    a, b = pair()
    distance = lpips(a, b)
    assert distance.shape == (2,)
    assert bool((distance > 0).all())
    assert torch.equal(lpips(a, a), torch.zeros(2))
    torch.testing.assert_close(lpips(b, a), distance)
    torch.testing.assert_close(torch.cat([lpips(a[:1], b[:1]), lpips(a[1:], b[1:])]), distance)


def test_the_smallest_side_is_accepted_and_memory_format_changes_nothing(lpips):
    a, b = pair(height=32, width=32)
    packed = (t.contiguous(memory_format=torch.channels_last) for t in (a, b))
    torch.testing.assert_close(lpips(*packed), lpips(a, b))


def test_only_inputs_take_gradients(lpips):
    a, b = pair(height=40, width=40)
    a.requires_grad_()
    (alone,) = torch.autograd.grad(lpips(a, b).sum(), a)
    b.requires_grad_()
    together, theirs = torch.autograd.grad(lpips(a, b).sum(), (a, b))
    torch.testing.assert_close(alone, together)
    assert alone.abs().sum() > 0
    assert theirs.abs().sum() > 0
    assert not any(p.requires_grad for p in lpips.parameters())
    assert not lpips.training


def test_gradient_is_the_slope(lpips):
    a, b = (t.double() for t in pair(1, 40, 40))
    model = lpips.double()
    a.requires_grad_()
    (slope,) = torch.autograd.grad(model(a, b).sum(), a)
    way = 1e-7 * torch.sign(slope)
    with torch.no_grad():
        rise = model(a + way, b) - model(a - way, b)
    lpips.float()
    assert rise.item() == pytest.approx(2 * (slope * way).sum().item(), rel=1e-2)


def test_gradient_stays_finite_where_no_channel_fires(tmp_path):
    tensors = random_weights("alex")
    tensors["features.0.bias"] = torch.full((64,), -1e3)
    model = load(tensors, tmp_path)
    a, b = pair(1, 64, 64)
    (slope,) = torch.autograd.grad(model(a.requires_grad_(), b).sum(), a)
    assert bool(slope.isfinite().all())


def test_it_is_linear_in_lin_and_blind_to_a_taps_scale(tmp_path):
    tensors = random_weights("alex")
    a, b = pair()
    for n in range(1, 5):
        tensors[f"lin{n}.weight"] = torch.zeros_like(tensors[f"lin{n}.weight"])
    first = load(tensors, tmp_path)(a, b)
    tensors["lin0.weight"] = 2 * tensors["lin0.weight"]
    tensors["features.0.weight"] = 5 * tensors["features.0.weight"]
    tensors["features.0.bias"] = 5 * tensors["features.0.bias"]
    torch.testing.assert_close(load(tensors, tmp_path)(a, b), 2 * first)


def test_loading_draws_no_random_number(tmp_path):
    tensors = random_weights("squeeze")
    before = torch.get_rng_state()
    load(tensors, tmp_path)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("shape", [(1, 3, 31, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_other_shapes_are_refused(lpips, shape):
    with pytest.raises(UsageError, match=r"^LPIPS of [^\n]+$"):
        lpips(torch.zeros(shape), torch.zeros(shape))


def test_unequal_shapes_are_refused(lpips):
    with pytest.raises(UsageError):
        lpips(torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 64, 64))


def without(name):
    return lambda tensors: tensors.pop(name)


def holding(name, tensor):
    return lambda tensors: tensors.update({name: tensor})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without("features.8.bias"), "features.8.bias is missing"),
        (without("lin3.weight"), "lin3.weight is missing"),
        (holding("lin0.weight", torch.ones(1, 63, 1, 1)), "lin0.weight is"),
        (holding("lin1.weight", -torch.ones(1, 192, 1, 1)), "negative"),
        (holding("classifier.bias", torch.ones(3)), "classifier.bias does not belong"),
    ],
)
def test_other_tensors_are_refused_in_one_line(tmp_path, spoil, said):
    tensors = random_weights("alex")
    spoil(tensors)
    with pytest.raises(ModelError, match=said) as caught:
        load(tensors, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="weights cannot be read"):
        Lpips.load(tmp_path / "absent.safetensors")
    (tmp_path / "noise").write_bytes(bytes(100))
    for path in (tmp_path / "noise", tmp_path):
        with pytest.raises(ModelError, match=r"^[^\n]*(weights cannot be read|neither a safetensors file)"):
            Lpips.load(path)


def test_vgg16_is_read_from_two_files(tmp_path):
    """Heads of ones on one tap: the mean squared distance of its unit vectors."""
    shapes = waves.vgg16()
    features = {name: tensor.half() for name, tensor in waves.weights(shapes).items()}
    heads = {f"lin{n}.weight": torch.zeros(1, width, 1, 1) for n, width in enumerate((64, 128, 256, 512, 512))}
    save_file(heads | {"lin1.weight": torch.ones(1, 128, 1, 1)}, tmp_path / "heads")
    save_file(features | {"classifier.0.weight": torch.zeros(1)}, tmp_path / "vgg16")
    model = Lpips.load(tmp_path / "heads", tmp_path / "vgg16")
    a, b = pair(1, 40, 44)
    ours, theirs = model.units(a), model.units(b)
    assert [tuple(unit.shape[1:]) for unit in ours] == [
        (64, 40, 44),
        (128, 20, 22),
        (256, 10, 11),
        (512, 5, 5),
        (512, 2, 2),
    ]
    wanted = (2 - 2 * (ours[1] * theirs[1]).sum(dim=1)).mean()
    assert model(a, b).item() == pytest.approx(wanted.item(), rel=1e-4)
    assert model.features[0].weight.dtype == torch.float32
    save_file({name: tensor for name, tensor in heads.items() if "4" not in name}, tmp_path / "heads")
    with pytest.raises(ModelError, match=r"lin4\.weight is missing"):
        Lpips.load(tmp_path / "heads", tmp_path / "vgg16")


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.skipif(not (WEIGHTS.exists() and MEASURED.exists()), reason="needs shared/data")
@pytest.mark.parametrize(("codec", "named"), [(baselines.JPEG, "jpeg lib"), (baselines.WEBP, "webp")])
def test_figures_measured_elsewhere_are_reproduced(codec, named):
    with MEASURED.open() as lines:
        rows = [r for r in csv.DictReader(lines) if r["codec"].startswith(named) and r["image"] == "kodim05.png"]
    row = next(r for r in rows if r["setting"] == "10")
    original = baselines.JPEG.decode((SHARED / "data" / "kodak" / "kodim05.png").read_bytes())
    data = codec.encode(original, 10)
    if len(data) != int(row["bytes"]):
        pytest.skip(f"another version of the {codec.name} encoder: {len(data)} bytes, not {row['bytes']}")
    for backbone in BACKBONES:
        model = Lpips.load(WEIGHTS / f"lpips_{backbone}_v0.1.safetensors")
        with torch.no_grad():
            distance = model(tensor(original), tensor(codec.decode(data))).item()
        assert distance == pytest.approx(float(row[f"lpips_{backbone}"]), abs=1e-4)
