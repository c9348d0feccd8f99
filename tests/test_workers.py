"""Encoder and Decoder: what the functions do, in batches, in other processes, with few threads."""

import importlib.util
import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

import regrain
from regrain import image
from regrain.loading import thread_cap, thread_count, threads_at_most

PIXELS = [np.random.default_rng(seed).integers(0, 256, (24 + 8 * seed, 40, 3), np.uint8) for seed in range(3)]


@pytest.fixture(scope="module")
def files():
    return [regrain.encode(pixels, quality=30) for pixels in PIXELS]


def test_a_list_becomes_what_the_functions_make_of_it(files, tmp_path):
    Image.fromarray(PIXELS[1]).save(tmp_path / "photo.png")
    encoder = regrain.Encoder(quality=30)
    assert encoder([PIXELS[0], tmp_path / "photo.png", Image.fromarray(PIXELS[2])]) == files
    assert encoder.encode(PIXELS[0]) == files[0]
    decoder = regrain.Decoder(realism=0, threads=None)
    for array, data in zip(decoder(files), files, strict=True):
        assert (array == np.asarray(regrain.decode(data, realism=0))).all()


@pytest.mark.parametrize(("output", "kind"), [("array", np.ndarray), ("pillow", Image.Image), ("webp", bytes)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_comes_out_has_all_channels(output, kind, channels):
    planes = np.random.default_rng(0).integers(0, 256, (20, 24, channels), np.uint8)
    grey, alpha = planes[..., 0], planes[..., -1] if channels in (2, 4) else None
    pixels = planes[..., :3] if channels > 2 else grey[..., None]
    png = io.BytesIO()
    image.write(image.Picture(np.ascontiguousarray(pixels), alpha), png, format="PNG")
    decoded = regrain.Decoder(realism=0, output=output).decode(regrain.Encoder(quality=5).encode(png.getvalue()))
    assert isinstance(decoded, kind)
    if output == "array":
        assert decoded.shape == (20, 24, channels)
        assert decoded.dtype == np.uint8
        if alpha is not None:
            assert (decoded[..., -1] == alpha).all()
    else:
        picture = image.read(decoded)
        assert (picture.width, picture.height, picture.alpha is None) == (24, 20, alpha is None)


def test_columns_go_along_and_one_is_added(files):
    batch = {"image": PIXELS, "label": np.arange(3)}
    out = regrain.Encoder(quality=30)(batch)
    assert out["rgn"] == files
    assert set(out) == {"image", "label", "rgn"}
    assert set(batch) == {"image", "label"}
    back = regrain.Decoder(realism=0, column="rgn", into="again")(out)
    assert [array.shape for array in back["again"]] == [pixels.shape for pixels in PIXELS]
    entries = [{"bytes": files[0], "path": None}, {"bytes": None, "path": "nowhere.rgn"}]
    kept = regrain.Decoder(realism=0, errors="column")({"rgn": [*entries, b"no file"]})
    assert kept["image"][0].shape == PIXELS[0].shape
    assert kept["image"][1:] == [None, None]
    assert [error and error.partition(":")[0] for error in kept["error"]] == [None, "BitstreamError", "NotRegrain"]
    with pytest.raises(regrain.NotRegrain):
        regrain.Decoder()({"rgn": [b"no file"]})


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"quality": 101}, "^quality is 101; allowed is"),
        ({"quality": 5, "target_bpp": 1}, "at most one of them"),
        ({"threads": 0}, "^threads is 0; allowed is a whole number from 1"),
        ({"threads": True}, "^threads is True"),
        ({"keep": "icc"}, "^keep is 'icc'; allowed are any of exif, icc, xmp"),
        ({"keep": ["gps"]}, "^keep is gps; allowed"),
        ({"errors": "ignore"}, "^errors is 'ignore'; allowed are raise, column"),
        ({"model": np}, "^model is a loaded module; allowed is its path"),
    ],
)
def test_what_is_out_of_range_is_refused_when_it_is_made(knobs, words):
    with pytest.raises(regrain.UsageError, match=words):
        regrain.Encoder(**knobs)
    if "quality" not in knobs:
        with pytest.raises(regrain.UsageError, match=words):
            regrain.Decoder(**knobs)


def test_a_column_that_is_not_there_and_steps_that_do_not_fit():
    with pytest.raises(regrain.UsageError, match=r"^column is 'image'; the batch has bytes, path$"):
        regrain.Encoder()({"path": ["a"], "bytes": [b""]})
    with pytest.raises(regrain.UsageError, match="budget is 3"):
        regrain.Decoder(steps=4, budget=3)
    assert regrain.Decoder(steps="auto", budget=0.1).decode(regrain.encode(PIXELS[0], quality=5)).ndim == 3


def test_they_are_small_light_and_alike_in_other_processes(files):
    encoder, decoder = regrain.Encoder(quality=30), regrain.Decoder(realism=1, seed=3)
    assert len(pickle.dumps(encoder)) < 700
    assert len(pickle.dumps(decoder)) < 700
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(encoder.encode, PIXELS)) == files
        for there, here in zip(pool.map(decoder.decode, files), decoder(files), strict=True):
            assert (there == here).all()
    code = "import sys, regrain; regrain.Encoder(); print([m for m in ('numpy', 'PIL', 'torch') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_networks_have_the_threads_that_were_asked_for(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert thread_count() == 7
    with threads_at_most(2):
        assert (thread_count(), thread_cap()) == (2, 2)
    assert thread_cap() is None
    asked = []
    monkeypatch.setattr("regrain.codec.encode", lambda *_, **__: asked.append(thread_count()) or b"")
    regrain.Encoder(threads=3).encode(PIXELS[0])
    regrain.Encoder().encode(PIXELS[0])
    regrain.Encoder(threads=None).encode(PIXELS[0])
    assert asked == [3, 1, 7]


def test_the_first_call_on_a_device_of_torch_has_these_threads_too():
    pytest.importorskip("torch")
    code = """
import numpy, sys, regrain
from regrain import codec
codec.encode = lambda *_, **__: print(sys.modules["torch"].get_num_threads())
regrain.Encoder(device="cpu", threads=3).encode(numpy.zeros((8, 8, 3), numpy.uint8))
"""
    env = os.environ | {"OMP_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert run.stdout.strip() == "3"


@pytest.mark.parametrize("output", ["array ", "pgn"])
def test_an_output_that_is_no_format_is_refused_when_the_decoder_is_made(output):
    with pytest.raises(regrain.UsageError, match=r"picture format is .*; allowed are png"):
        regrain.Decoder(output=output)


def test_torch_has_its_threads_back_afterwards():
    import torch

    before = torch.get_num_threads()
    regrain.Encoder(threads=before + 1, quality=5, device="cpu").encode(PIXELS[0])
    assert torch.get_num_threads() == before


class Files:
    """A dataset of torch's, of .rgn files in memory."""

    def __init__(self, files):
        self.files, self.decoder = files, regrain.Decoder(realism=0)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return self.decoder.decode(self.files[index])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_loader_decodes_in_its_workers(files, method):
    from torch.utils.data import DataLoader

    wanted = [array.tolist() for array in regrain.Decoder(realism=0)(files)]
    loader = DataLoader(Files(files), batch_size=None, num_workers=1, multiprocessing_context=method)
    assert [array.tolist() for array in loader] == wanted
    loader = DataLoader(
        files, batch_size=2, collate_fn=regrain.Decoder(realism=0), num_workers=1, multiprocessing_context=method
    )
    assert [array.tolist() for batch in loader for array in batch] == wanted


def _needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}: pip install 'regrain[dev]'")


@_needs("datasets")
def test_hugging_face_opens_a_column_of_files(files, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    code = f"""
import io, sys
import datasets, numpy as np, regrain, regrain.pillow
pixels = [np.random.default_rng(s).integers(0, 256, (24 + 8 * s, 40, 3), np.uint8) for s in range(3)]
from PIL import Image
kinds = datasets.Features({{"label": datasets.Value("int64"), "image": datasets.Image()}})
rows = datasets.Dataset.from_dict({{"label": [0, 1, 2], "image": list(map(Image.fromarray, pixels))}}, kinds)
rows = rows.map(regrain.Encoder(quality=30), batched=True, batch_size=2, remove_columns=["image"])
rows = rows.map(lambda row: {{"rgn": {{"bytes": row["rgn"], "path": None}}}})
rows.to_parquet({str(tmp_path / "files.parquet")!r})
read = datasets.Dataset.from_parquet({str(tmp_path / "files.parquet")!r}, cache_dir={str(tmp_path / "cache")!r})
read = read.cast_column("rgn", datasets.Image())
print([row["rgn"].size for row in read], [row["label"] for row in read])
"""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[(40, 24), (40, 32), (40, 40)] [0, 1, 2]"


@_needs("webdataset")
def test_shards_of_webdataset(files, tmp_path):
    shard = tmp_path / "shard-0.tar"
    code = f"""
import webdataset, regrain, numpy as np
pixels = [np.random.default_rng(s).integers(0, 256, (24 + 8 * s, 40, 3), np.uint8) for s in range(3)]
with webdataset.TarWriter({str(shard)!r}) as writer:
    for number, data in enumerate(regrain.Encoder(quality=30)(pixels)):
        writer.write({{"__key__": str(number), "rgn": data, "cls": str(number).encode()}})
shards = webdataset.WebDataset({str(shard)!r}, shardshuffle=False)
samples = shards.map_dict(rgn=regrain.Decoder(realism=0).decode)
print([(sample["rgn"].shape, sample["cls"]) for sample in samples])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[((24, 40, 3), b'0'), ((32, 40, 3), b'1'), ((40, 40, 3), b'2')]"
