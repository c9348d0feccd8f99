"""The integer wall gives the same integers whatever computes them."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from regrain.entropy.integer import ACTIVATION_MAX, INDEX_STEP
from regrain.errors import ModelError
from regrain_lab.trainable.wall import IntegerConv, ScaleBranch, level, scale_index


@pytest.fixture
def branch() -> ScaleBranch:
    torch.manual_seed(3)
    made = ScaleBranch(16, 32, 24, [(8, 16)]).eval().requires_grad_(False)
    for layer in made.layers:
        layer.weight.add_(torch.randn_like(layer.weight), alpha=0.1).mul_(2)
        layer.bias.copy_(torch.randn_like(layer.bias))
    return made


@pytest.fixture
def z() -> torch.Tensor:
    return torch.randint(-200, 200, (4, 16, 6, 5), generator=torch.Generator().manual_seed(1)).float()


@contextmanager
def without_onednn():
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(True)


OFFSET = torch.arange(24.0)[None] * 30


def indices(branch, z, offset=OFFSET, symbols=None):
    """Scale indices from z alone, or with the context of given symbols added to the last 16 channels."""
    total, hidden = branch(z)
    total = total + offset.to(total)[:, :, None, None]
    if symbols is not None:
        added = branch.context(1, symbols.to(total), hidden)
        total = torch.cat([total[:, :8], total[:, 8:] + added], 1)
    return scale_index(total)


def test_indices_are_whole_and_in_range(branch, z):
    index = indices(branch, z)
    assert index.shape == (4, 24, 24, 20)
    assert torch.equal(index, index.round())
    assert 0 <= index.min() < index.max() <= 63


def test_indices_equal_a_computation_in_python_integers(branch, z):
    x = z.clamp(-ACTIVATION_MAX, ACTIVATION_MAX).long()
    for place, layer in enumerate(branch.convolutions[:3]):
        weight, bias = layer.integer_weight().long(), layer.integer_bias().long()
        total = nn.functional.conv2d(x, weight, bias, padding=1)
        x = total >> layer.shift
        if place < 2:
            x = x.clamp(0, ACTIVATION_MAX).repeat_interleave(2, 2).repeat_interleave(2, 3)
    index = ((x + OFFSET.long()[:, :, None, None] + INDEX_STEP // 2) // INDEX_STEP).clamp(0, 63)
    assert torch.equal(indices(branch, z).long(), index)


@pytest.fixture
def symbols() -> torch.Tensor:
    numbers = torch.randint(-(2**24), 2**24, (4, 8, 24, 20), generator=torch.Generator().manual_seed(2))
    return (numbers >> (numbers % 25)).float()


def test_a_context_equals_a_computation_in_python_integers(branch, z, symbols):
    hidden = branch(z)[1]
    n = (1 + symbols.long().abs()).clamp(max=255)
    octave = torch.tensor([[int(v).bit_length() - 1] for v in n.flatten()]).view(n.shape)
    seen = torch.cat([8 * octave + ((8 * (n - (1 << octave))) >> octave), hidden.long() // 2], 1)
    for layer, top in zip(branch.convolutions[3:], (ACTIVATION_MAX, 2**30), strict=True):
        weight, bias = layer.integer_weight().long(), layer.integer_bias().long()
        low = 0 if top == ACTIVATION_MAX else -top
        seen = (nn.functional.conv2d(seen, weight, bias, padding=1) >> layer.shift).clamp(low, top)
    assert len(seen.unique()) > 100
    assert torch.equal(branch.context(1, symbols, hidden).long(), seen)


def test_levels_are_eight_an_octave():
    wanted = {0: 0, 1: 8, -1: 8, 2: 12, 3: 16, 4: 18, -7: 24, 15: 32, 127: 56, 253: 63, 254: 63, 2**31: 63}
    found = level(torch.tensor([float(symbol) for symbol in wanted]))
    assert found.tolist() == list(wanted.values())


@pytest.mark.parametrize("variant", ["double", "channels_last", "one by one", "one thread", "without oneDNN"])
def test_indices_do_not_depend_on_how_they_are_computed(branch, z, symbols, variant):
    wanted = indices(branch, z, OFFSET, symbols)
    threads = torch.get_num_threads()
    try:
        if variant == "double":
            got = indices(branch.double(), z.double(), OFFSET, symbols).float()
        elif variant == "channels_last":
            layout = torch.channels_last
            got = indices(branch.to(memory_format=layout), z.contiguous(memory_format=layout), OFFSET, symbols)
        elif variant == "one by one":
            parts = zip(z.split(1), symbols.split(1), strict=True)
            got = torch.cat([indices(branch, part, OFFSET, some) for part, some in parts])
        elif variant == "one thread":
            torch.set_num_threads(1)
            got = indices(branch, z, OFFSET, symbols)
        else:
            with without_onednn():
                got = indices(branch, z, OFFSET, symbols)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(got, wanted)


def test_stored_integers_come_back(branch):
    for layer in branch.layers:
        fresh = IntegerConv(layer.weight.shape[1], layer.weight.shape[0], layer.shift, layer.most)
        fresh.set_integers(layer.integer_weight().to(torch.int8), layer.integer_bias().to(torch.int32))
        assert torch.equal(fresh.integer_weight(), layer.integer_weight())
        assert torch.equal(fresh.integer_bias(), layer.integer_bias())


def test_sums_that_float32_cannot_hold_are_refused():
    layer = IntegerConv(64, 2, 8)
    full = torch.full((2, 64, 3, 3), 127, dtype=torch.int8)
    layer.set_integers(full, torch.zeros(2, dtype=torch.int32))
    with pytest.raises(ModelError, match="2\\^24"):
        layer.set_integers(full, torch.full((2,), 2**23, dtype=torch.int32))
    with pytest.raises(ModelError, match="shape"):
        layer.set_integers(full[:1], torch.zeros(2, dtype=torch.int32))


def test_a_gradient_reaches_every_weight(branch, z):
    branch.requires_grad_(True)
    indices(branch, z, torch.full((1, 24), 500.0), torch.ones(4, 8, 24, 20)).sum().backward()
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in branch.parameters())
