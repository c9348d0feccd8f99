"""An adapter: what weights for some kind of picture have beyond those that they come from, in some hundred kilobytes.

    W = W_base + sum_k left_k right_k^T                     a kernel (out, in, 3, 3) as the matrix (out, 9 in)
                                                            (Hu et al. 2021, "LoRA", arXiv:2106.09685, eq. 3)

A file of this kind holds `NAME.left` (out, K) and `NAME.right` (K, 9 in) of kernels NAME, and other arrays whole. Sums
are taken element by element in float32, one k after another: every machine has the same weights, and the same symbols.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from regrain import checkpoint
from regrain.checkpoint import Arrays
from regrain.errors import ModelError, quote

__all__ = ["KIND", "LEFT", "RIGHT", "adapted", "base_fingerprint", "identity", "load_adapted"]

KIND: Final = "adapter"
LEFT, RIGHT = ".left", ".right"
RANK_MOST: Final = 64
ADAPTABLE: Final = ("analysis.", "hyper_analysis.", "latents.", "denoiser.")


def base_fingerprint(metadata: Mapping[str, Any]) -> bytes | None:
    """The latent fingerprint of the weights that an adapter adds to, by its metadata; None for what is no adapter.

    Raises ModelError where it is no fingerprint.
    """
    if metadata.get("kind") != KIND:
        return None
    try:
        fingerprint = bytes.fromhex(checkpoint.text(metadata, "base"))
    except ValueError:
        fingerprint = b""
    if len(fingerprint) != 4:
        raise ModelError(f"the adapter's base is {quote(metadata.get('base'))}; 8 hexadecimal digits are allowed")
    return fingerprint


def identity(base: Arrays) -> str:
    """8 hexadecimal digits of all that an adapter may add to; a sampler, which it does not touch, may change."""
    return checkpoint.fingerprint({name: base[name] for name in base if name.startswith(ADAPTABLE)}).hex()


def load_adapted(path: Path, arrays: Arrays, metadata: Mapping[str, Any]) -> tuple[Arrays, dict[str, Any]]:
    """The weights, and their metadata, that an adapter's arrays and metadata make of the base at `path`.

    Raises ModelError where it is not the base that the adapter names.
    """
    base, about = checkpoint.load(path)
    if metadata.get("identity") != (name := identity(base)):
        raise ModelError(f"the adapter is for weights {quote(metadata.get('identity'))}, and {path.name} is {name}")
    config = about.get("config")
    if isinstance(config, dict):  # the fast decoder knows the base's latents alone
        about["config"] = {key: value for key, value in config.items() if key != "fast"}
    return adapted(base, arrays), about | {"recipe": metadata.get("recipe", "")}


def adapted(base: Arrays, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """The weights that an adapter's arrays make of its base's. Raises ModelError where they do not fit.

    >>> base = {"denoiser.leave.weight": np.zeros((2, 1, 3, 3), np.float16)}
    >>> ones = {"denoiser.leave.weight.left": np.ones((2, 1)), "denoiser.leave.weight.right": np.ones((1, 9))}
    >>> float(adapted(base, ones)["denoiser.leave.weight"].sum())
    18.0
    """
    whole = dict(base)
    for name, array in arrays.items():
        target, _, end = name.rpartition(".")
        if f".{end}" == LEFT and target in base:
            whole[target] = _sum(target, base[target], array, arrays.get(target + RIGHT))
        elif f".{end}" != RIGHT or target + LEFT not in arrays:
            _check_same(name, base.get(name), array)
            whole[name] = array
    return whole


def _sum(name: str, kernel: NDArray[Any], left: NDArray[Any], right: NDArray[Any] | None) -> NDArray[np.float32]:
    rows = kernel.reshape(len(kernel), -1).astype(np.float32)
    ranks = left.shape[1:]
    if (
        right is None or len(ranks) != 1 or ranks[0] > RANK_MOST or kernel.dtype.kind != "f"
        or left.shape != (len(rows), *ranks) or right.shape != (*ranks, rows.shape[1])
    ):  # fmt: skip
        raise ModelError(f"the adapter does not fit its base: {quote(name)} has another shape")
    for k in range(*ranks):
        rows += left[:, k, None].astype(np.float32) * right[k].astype(np.float32)
    return rows.reshape(kernel.shape)


def _check_same(name: str, base: NDArray[Any] | None, array: NDArray[Any]) -> None:
    if base is None or (array.shape, array.dtype) != (base.shape, base.dtype) or not name.startswith(ADAPTABLE):
        raise ModelError(f"the adapter does not fit its base: {quote(name)} is on one side alone, or of another shape")
