"""Write what the codec in the browser needs: python scripts/web.py [FOLDER], web/model unless said otherwise.

manifest.json names the files that follow, each with its sizes; `web/src/model.ts` reads them:

    NAME-HASH.bin     gzip of: length of the head (4 bytes), the head as JSON, zeros to a multiple of 8, the data
    head              {"tensors": [[type, shape, at], ...], "graphs": {NAME: [at, bytes, constants]}}
    constants         {NAME IN THE GRAPH: [file, tensor]}

A graph is stored without its constants, as the bytes of an ONNX model; appended to them, constants make it whole, since
a message of protobuf is the sum of its parts. Types are f32, f16, i32, u16, i8 and q8: 8 bits whose scales, float32
for each first index, follow the numbers at the next multiple of 4. `waves` and `waves-back` are matrices that
`dct.ts` computes.
"""

import argparse
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import as_file
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from regrain import checkpoint, registry
from regrain.bitstream import Method
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.coding_order import coding_order
from regrain.conditional.config import ModelConfig
from regrain.conditional.dct import BLOCK, dct_basis
from regrain.conditional.onnx_backend import OnnxNetworks
from regrain.diffusion import noise
from regrain.entropy.tables import gaussian_tables
from regrain.onnx import blocks, wire
from regrain.onnx.byte_convolution import without_ranges
from regrain.onnx.graph import Graph
from regrain.onnx.network import Network

Array = NDArray[Any]

FOLDER = Path(__file__).resolve().parents[1] / "web" / "model"
LARGE: Final = 70000
"""Weights of a denoiser have 8 bits where a tensor has more numbers than these, which are those at 1/8 and 1/16 of the
resolution. With the layers that pixels enter and leave by in 8 bits, too, pixels move by up to four levels."""
SHRINKS: Final = np.linspace(0.7, 1, 13)


class Bundle:
    """One file in the making: tensors, each stored once, and graphs that name them."""

    def __init__(self, name: str, earlier: Sequence["Bundle"] = ()) -> None:
        """Begin a file, which may name tensors of those `earlier`."""
        self.name, self.earlier = name, earlier
        self.data, self.tensors = bytearray(), list[list[object]]()
        self.graphs: dict[str, list[object]] = {}
        self._known: dict[bytes, int] = {}

    def find(self, array: Array) -> tuple[str, int] | None:
        """Where a tensor is, in this file or an earlier one."""
        key = _key(array)
        holders = (bundle for bundle in (self, *self.earlier) if key in bundle._known)
        return next(((bundle.name, bundle._known[key]) for bundle in holders), None)

    def add(self, array: Array, kind: str) -> tuple[str, int]:
        """Store a tensor as this type, unless it is there."""
        if (place := self.find(array)) is None:
            place = self.name, len(self.tensors)
            self._known[_key(array)] = place[1]
            self.tensors.append([kind, list(array.shape), self._append(_bytes(array, kind))])
        return place

    def graph(self, name: str, network: Network, *, narrow: bool = False) -> None:
        """Store a graph, and its constants; narrow ones have 8 bits where they are large."""
        nodes, constants, inputs, outputs = _parts(network)
        table = {key: self.add(array, _kind(array, narrow)) for key, array in constants.items()}
        skeleton = wire.model(nodes, {}, inputs, outputs)
        self.graphs[name] = [self._append(skeleton), len(skeleton), table]

    def write(self, folder: Path) -> dict[str, object]:
        """Write the file; return its name and its sizes, packed and unpacked."""
        head = json.dumps({"tensors": self.tensors, "graphs": self.graphs}, separators=(",", ":")).encode()
        plain = len(head).to_bytes(4, "little") + head
        plain += bytes(-len(plain) % 8) + self.data
        packed = gzip.compress(plain, 9, mtime=0)
        path = folder / f"{self.name}-{hashlib.sha256(packed).hexdigest()[:8]}.bin"
        path.write_bytes(packed)
        return {"file": path.name, "bytes": len(packed), "unpacked": len(plain)}

    def _append(self, data: bytes) -> int:
        at = len(self.data)
        self.data += data + bytes(-len(data) % 8)
        return at


def _parts(network: Network) -> tuple[list[wire.Node], Mapping[str, Array], Sequence[str], Sequence[str]]:
    """Nodes, constants, inputs and outputs of a graph."""
    nodes, constants, inputs, outputs = cast("partial[bytes]", network.write).args
    return nodes, constants, inputs, outputs


def _key(array: Array) -> bytes:
    return hashlib.sha256(f"{array.shape}".encode() + array.astype("<f8").tobytes()).digest()


def _kind(array: Array, narrow: bool) -> str:
    """The type in which a constant of a graph is stored."""
    if name := next((name for name, waves in _waves().items() if np.array_equal(array, waves)), None):
        return name
    if narrow and array.ndim == 4 and array.size > LARGE:
        return "q8"
    if array.ndim == 4 and np.array_equal(array, array.astype(np.int8)):
        return "i8"
    return "f16" if np.array_equal(array, array.astype(np.float16)) else "f32"


def _waves() -> dict[str, Array]:
    """The fixed matrices of analysis and sketch."""
    basis, std = dct_basis(ModelConfig().transform.latent)
    forth = blocks.patch_major((basis / std[:, None])[:, :, None, None], BLOCK)
    return {"waves": forth, "waves-back": (basis * std[:, None]).T[:, :, None, None]}


def _bytes(array: Array, kind: str) -> bytes:
    if kind in _waves():
        return b""
    if kind == "q8":
        numbers, scales = quantize(array.astype(np.float32))
        return numbers.tobytes() + bytes(-numbers.size % 4) + scales.astype("<f4").tobytes()
    names = {"f32": "<f4", "f16": "<f2", "i32": "<i4", "u16": "<u2", "i8": "i1"}
    stored = array.astype(names[kind])
    if kind != "f32" and not np.array_equal(stored, array):
        raise SystemExit(f"a tensor {array.shape} does not fit {kind}")
    return stored.tobytes()


def quantize(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights (O, ...) as int8 of the same shape, and scales (O,), those of 13 with the least squared error.

    >>> numbers, scales = quantize(np.float32([[1, -0.5], [0, 0]]))
    >>> (numbers * scales[:, None]).round(2).tolist()
    [[1.0, -0.5], [0.0, 0.0]]
    """
    rows = weight.reshape(len(weight), -1)
    widest = np.maximum(np.abs(rows).max(1) / 127, np.float32(1e-12))
    numbers, scales = np.zeros(rows.shape, np.int8), np.zeros(len(rows), np.float32)
    least = np.full(len(rows), np.inf)
    for shrink in SHRINKS:
        scale = (widest * shrink).astype(np.float32)[:, None]
        tried = np.rint(rows / scale).clip(-127, 127)
        error = np.square(tried * scale - rows).sum(1)
        better = error < least
        numbers[better], scales[better], least[better] = tried[better], scale[better, 0], error[better]
    return numbers.reshape(weight.shape), scales


def scale_networks(arrays: checkpoint.Arrays, config: ModelConfig) -> list[Network]:
    """The integer wall as graphs of float32, whose sums stay below 2^24 and so are exact in any order.

    The first takes z (Z, H, W) to t without its offset (C, 4 H, 4 W) and a_2 of the same size; network k >= 1 takes
    levels (known, h, w) and a_2 to what context k adds (out, h, w). `entropy.integer` is the same in NumPy, and has
    checked the weights.
    """
    graph = Graph({}, "z")
    x = _clip(graph, "z", -127)
    for index, shift in ((0, 4), (1, 8)):
        x = _clip(graph, _integer_conv(graph, arrays, x, index, shift), 0)
        x = graph.node("DepthToSpace", graph.node("Concat", *[x] * 4, axis=1), blocksize=2, mode="DCR")
    networks = [graph.network(_integer_conv(graph, arrays, x, 2, 6), x)]
    for number in range(1, len(coding_order(config.transform.latent, config.transform.slices))):
        graph = Graph({}, "levels", "hidden")
        halves = graph.node("Floor", graph.node("Mul", "hidden", graph.constant(np.float32(0.5))))
        x = graph.node("Concat", "levels", halves, axis=1)
        x = _clip(graph, _integer_conv(graph, arrays, x, 2 * number + 1, 8), 0)
        networks.append(graph.network(_integer_conv(graph, arrays, x, 2 * number + 2, 6)))
    return networks


def _integer_conv(graph: Graph, arrays: checkpoint.Arrays, x: str, index: int, shift: int) -> str:
    weight, bias = (arrays[f"latents.scale.{index}.{kind}"].astype(np.float32) for kind in ("weight", "bias"))
    total = graph.convolve(x, weight, bias)
    return graph.node("Floor", graph.node("Mul", total, graph.constant(np.float32(2.0**-shift))))


def _clip(graph: Graph, x: str, least: int) -> str:
    return graph.node("Clip", x, graph.constant(np.float32(least)), graph.constant(np.float32(127)))


def bundles(path: Path) -> tuple[list[Bundle], dict[str, Any]]:
    """All files of some weights, and what the manifest says beside their names."""
    stored, about = checkpoint.load(path)
    arrays = without_ranges(stored)
    model = ConditionalModel.build(arrays, about["config"])
    config, networks = model.config, cast(OnnxNetworks, model.denoiser.networks)
    latents, denoiser, encoder = Bundle("latents"), Bundle("denoiser"), Bundle("encoder")
    sampler = Bundle("sampler", [denoiser])
    tables = {
        "zTables": latents.add(arrays["latents.z_tables"], "i32"),
        "gaussian": latents.add(_gaussian(), "u16"),
        "logGain": latents.add(arrays["latents.log_gain"], "f32"),
        "offset": latents.add(arrays["latents.offset"], "i32"),
        "quantiles": denoiser.add(_quantile_steps(), "u16"),
    }
    latents.graph("synthesis", networks._synthesis)
    for number, context in enumerate(networks._contexts, start=1):
        latents.graph(f"context{number}", context)
    for number, scale in enumerate(scale_networks(arrays, config)):
        latents.graph(f"scale{number}", scale)
    denoiser.graph("denoiser", networks._denoiser, narrow=True)
    encoder.graph("analysis", networks._analysis)
    encoder.graph("hyperAnalysis", networks._hyper_analysis)
    if config.sampler:
        sampler.graph("samplingContext", networks._sampling_context, narrow=True)
        sampler.graph("sampler", networks._sampler, narrow=True)
    shape = config.transform
    order = [[step.first, step.last, step.context_channels, step.parity] for step in coding_order(
        shape.latent, shape.slices)]  # fmt: skip
    about = {
        "fingerprint": model.fingerprint.hex(),
        "latent": shape.latent,
        "hyper": shape.hyper,
        "features": shape.shared,
        "anchors": shape.anchors,
        "order": order,
        "prediction": config.prediction,
        "schedule": config.schedule,
        "initNoise": config.init_noise,
        "sampler": config.sampler,
        "tables": tables,
    }
    return [latents, denoiser, encoder, *([sampler] if config.sampler else [])], about


def _gaussian() -> NDArray[np.uint16]:
    """The frozen tables as docs/FORMAT.md has them: for each the radius r and the counts of 0 .. r."""
    rows = [[table.size // 2, *table.counts[table.size // 2 : -1]] for table in gaussian_tables()]
    return np.concatenate(rows).astype(np.uint16)


def _quantile_steps() -> NDArray[np.uint16]:
    """The noise's positive quantiles, in units of 2^-16, each less the one before; the first is whole."""
    upper = np.rint(noise._quantiles()[2**15 :].astype(np.float64) * 2**16)
    return np.diff(upper, prepend=0.0).astype(np.uint16)


def main() -> None:
    """Write them all."""
    parser = argparse.ArgumentParser(description="Write what the codec in the browser needs.")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--model", type=Path, help="weights; those of the package unless given")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*-????????.bin"):
        old.unlink()
    with as_file(registry.shipped_weights(Method.CONDITIONAL)) as shipped:
        files, about = bundles(arguments.model or Path(shipped))
    manifest = {**about, "files": {bundle.name: bundle.write(folder) for bundle in files}}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for name, entry in manifest["files"].items():
        print(f"{name:10} {entry['bytes']:9} bytes, {entry['unpacked']:9} unpacked")


if __name__ == "__main__":
    main()
