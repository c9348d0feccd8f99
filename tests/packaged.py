"""A copy of the package's weights with an adapter of random numbers among them, as the weights for screens."""

import json
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from regrain import adapter, checkpoint, registry
from regrain.bitstream import Method
from regrain.conditional.codec import ConditionalModel

WEIGHTS = files("regrain") / "weights"


def write_adapter(path: Path) -> bytes:
    """A tiny adapter of the package's weights, whose fingerprint is returned."""
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as where:
        base, _ = checkpoint.load(where)
    rng = np.random.default_rng(11)
    kernels = ("analysis.14.weight", "latents.mean.leave.weight", "denoiser.enter.weight")
    arrays = {"latents.offset": base["latents.offset"] + np.ones((), base["latents.offset"].dtype)}
    for name in kernels:
        rows = base[name].reshape(len(base[name]), -1)
        arrays[name + adapter.LEFT] = rng.normal(0, 0.01, (len(rows), 1)).astype(np.float16)
        arrays[name + adapter.RIGHT] = rng.normal(0, 1, (1, rows.shape[1])).astype(np.float16)
    fingerprint = registry.shipped_fingerprint(Method.CONDITIONAL).hex()
    about = {"kind": adapter.KIND, "base": fingerprint, "identity": adapter.identity(base), "recipe": "random"}
    checkpoint.save(path, arrays, about)
    return ConditionalModel.load(path).fingerprint


def write_package(folder: Path, *, screens: bool) -> Path:
    """`folder`/weights as the package has them, with weights for screens or without."""
    weights = folder / "weights"
    weights.mkdir()
    index = json.loads((WEIGHTS / "index.json").read_text(encoding="utf-8"))
    index = {key: value for key, value in index.items() if "-" not in key}
    for key, value in index.items():
        (weights / f"{key}-{value}.safetensors").symlink_to(str(WEIGHTS / f"{key}-{value}.safetensors"))
    if screens:
        fingerprint = write_adapter(folder / "adapter").hex()
        (folder / "adapter").rename(weights / f"conditional-{fingerprint}.safetensors")
        index["conditional-screen"] = fingerprint
    (weights / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder
