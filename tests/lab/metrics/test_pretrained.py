"""Files of tensors: known by what they hold, whatever their name; hostile and foreign ones end in one line."""

import pytest
import torch
from safetensors.torch import save_file

from lab.metrics import waves
from regrain.errors import ModelError
from regrain_lab.metrics.pretrained import classify, load_weights, read

ALPHA_BETA = {"alpha": torch.ones(1, 3, 1, 1), "beta": torch.zeros(1, 3, 1, 1)}
SIGNS = {
    "lpips_alex": ["lin0.weight", "features.3.weight"],
    "lpips_vgg": ["lin0.weight", "lin4.weight"],
    "lpips_squeeze": ["lin0.weight", "features.3.squeeze.weight"],
    "vgg16": ["features.28.weight", "classifier.6.weight"],
    "dists": ["alpha", "beta"],
    "pieapp": ["conv1.weight", "fc1_score.weight"],
}


@pytest.mark.parametrize("kind", SIGNS)
def test_a_file_is_known_by_its_tensors_in_either_format(tmp_path, kind):
    tensors = {name: torch.ones(2) for name in SIGNS[kind]}
    torch.save(tensors, tmp_path / "any.bin")
    save_file(tensors, tmp_path / "other.bin")
    for name in ("any.bin", "other.bin"):
        assert classify([tmp_path / name]) == {kind: tmp_path / name}


def test_the_published_layouts_are_known(tmp_path):
    for kind, shapes in {"vgg16": waves.vgg16(), "pieapp": waves.pieapp()}.items():
        save_file({name: torch.empty(0) for name in shapes}, tmp_path / kind)
        assert classify([tmp_path / kind]) == {kind: tmp_path / kind}


def test_both_formats_and_parameters_give_the_same_tensors(tmp_path):
    torch.save({name: torch.nn.Parameter(tensor) for name, tensor in ALPHA_BETA.items()}, tmp_path / "a")
    torch.save(ALPHA_BETA, tmp_path / "b", _use_new_zipfile_serialization=False)
    save_file(ALPHA_BETA, tmp_path / "c")
    for name in ("a", "b", "c"):
        found = read(tmp_path / name)
        assert found.keys() == ALPHA_BETA.keys()
        assert torch.equal(found["alpha"], ALPHA_BETA["alpha"])
        assert not found["alpha"].requires_grad


class Trap:
    def __reduce__(self):
        return print, ("this ran",)


@pytest.mark.parametrize(
    "held", [Trap(), {"alpha": Trap()}, {"alpha": 1.0}, [torch.ones(1)], {"state_dict": {"alpha": torch.ones(1)}}]
)
def test_nothing_but_tensors_is_read(tmp_path, capsys, held):
    torch.save(held, tmp_path / "held.pth")
    with pytest.raises(ModelError, match=r"^[^\n]*held\.pth[^\n]*$"):
        read(tmp_path / "held.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("data", [b"", b"text", bytes(100), b"PK\x03\x04" + bytes(60), b"\x80\x02}q\x00."])
def test_what_is_no_such_file_is_one_line(tmp_path, data):
    (tmp_path / "odd").write_bytes(data)
    for path in (tmp_path / "odd", tmp_path / "absent", tmp_path):
        with pytest.raises(ModelError, match=r"^[^\n]+$"):
            classify([path])


def test_tensors_of_no_metric_are_refused(tmp_path):
    save_file({"features.0.weight": torch.ones(2)}, tmp_path / "alexnet")
    with pytest.raises(ModelError, match=r"^[^\n]*alexnet holds no weights of a metric"):
        classify([tmp_path / "alexnet"])


def test_a_module_takes_what_fits_and_nothing_else():
    tensors = {"weight": torch.ones(1, 2, dtype=torch.float16), "bias": torch.zeros(1)}
    module = load_weights(torch.nn.Linear(2, 1), tensors, "a file")
    assert module.weight.dtype == torch.float32
    assert not module.weight.requires_grad
    assert not module.training
    for wrong in ({"bias": torch.zeros(1)}, tensors | {"bias": torch.zeros(2)}, tensors | {"more": torch.ones(1)}):
        with pytest.raises(ModelError, match=r"^a file: (weight|bias|more) "):
            load_weights(torch.nn.Linear(2, 1), wrong, "a file")


def test_counters_of_batch_norms_are_of_no_account():
    tensors = torch.nn.BatchNorm2d(2).state_dict()
    del tensors["num_batches_tracked"]
    load_weights(torch.nn.BatchNorm2d(2), tensors, "a file")
    load_weights(torch.nn.BatchNorm2d(2), tensors | {"num_batches_tracked": torch.tensor(3)}, "a file")
