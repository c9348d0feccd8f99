"""Write what the codec in the browser needs: python scripts/web.py [FOLDER], web/model unless said otherwise.

manifest.json names the files, each with its sizes; `scripts/web_bundle.py` says what is in them.
"""

import argparse
import json
import sys
from importlib.resources import as_file
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from regrain import adapter, checkpoint
from regrain.bitstream import Method
from regrain.conditional.codec import ConditionalModel
from regrain.conditional.coding_order import coding_order
from regrain.conditional.config import ModelConfig
from regrain.conditional.onnx_backend import OnnxNetworks
from regrain.diffusion import noise
from regrain.entropy.tables import gaussian_tables
from regrain.onnx.byte_convolution import without_ranges
from regrain.onnx.graph import Graph
from regrain.onnx.network import Network
from regrain.shipped import shipped_fingerprint, shipped_weights
from scripts.web_bundle import Bundle, Change

Array = NDArray[Any]

FOLDER = Path(__file__).resolve().parents[1] / "web" / "model"
TABLE_KINDS: Final = {"zTables": "i32", "logGain": "f32", "offset": "i32"}
DECODES: Final = ("latents", "denoiser")
"""Files in which an adapter changes something for a decoder."""


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


def graphs(model: ConditionalModel, arrays: checkpoint.Arrays) -> dict[str, dict[str, Network]]:
    """By file and by name."""
    config, networks = model.config, cast(OnnxNetworks, model.denoiser.networks)
    files = {
        "latents": {
            "synthesis": networks._synthesis,
            **{f"context{number}": context for number, context in enumerate(networks._contexts, start=1)},
            **{f"scale{number}": scale for number, scale in enumerate(scale_networks(arrays, config))},
        },
        "denoiser": {"denoiser": networks._denoiser},
        "encoder": {"analysis": networks._analysis, "hyperAnalysis": networks._hyper_analysis},
    }
    if config.sampler:
        files["sampler"] = {"samplingContext": networks._sampling_context, "sampler": networks._sampler}
    return files


def tables(arrays: checkpoint.Arrays) -> dict[str, Array]:
    """What the codec looks up, of the weights."""
    return {
        "zTables": arrays["latents.z_tables"],
        "logGain": arrays["latents.log_gain"],
        "offset": arrays["latents.offset"],
    }


def bundles(path: Path) -> tuple[list[Bundle], dict[str, Any]]:
    """All files of some weights, and what the manifest says beside their names."""
    stored, about = checkpoint.load(path)
    arrays = without_ranges(stored)
    model = ConditionalModel.build(arrays, about["config"])
    config, shape = model.config, model.config.transform
    latents, denoiser, encoder = Bundle("latents"), Bundle("denoiser"), Bundle("encoder")
    files = [latents, denoiser, encoder, *([Bundle("sampler", [denoiser])] if config.sampler else [])]
    places = {name: latents.add(array, TABLE_KINDS[name]) for name, array in tables(arrays).items()}
    places |= {"gaussian": latents.add(_gaussian(), "u16"), "quantiles": denoiser.add(_quantile_steps(), "u16")}
    networks = graphs(model, arrays)
    for bundle in files:
        for name, network in networks[bundle.name].items():
            bundle.graph(name, network, narrow=bundle.name in ("denoiser", "sampler"))
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
        "tables": places,
    }
    return files, about


def change(base: Path, path: Path) -> tuple[str, Change]:
    """The fingerprint of an adapter's weights, and what they change in the files that decode."""
    before, about = checkpoint.load(base)
    after, after_about = adapter.load_adapted(base, *checkpoint.load(path))
    pairs = [(without_ranges(before), about), (without_ranges(after), after_about)]
    models = [ConditionalModel.build(arrays, metadata["config"]) for arrays, metadata in pairs]
    old, new = (graphs(model, arrays) for model, (arrays, _) in zip(models, pairs, strict=True))
    bundle = Change("screens")
    for file in DECODES:
        for name, network in old[file].items():
            bundle.graph_change(name, network, new[file][name])
    for name, array in tables(after).items():
        if not np.array_equal(array, tables(before)[name]):
            bundle.table(name, array, TABLE_KINDS[name])
    return models[1].fingerprint.hex(), bundle


def _gaussian() -> NDArray[np.uint16]:
    """The frozen tables as docs/FORMAT.md has them: for each the radius r and the counts of 0 .. r."""
    rows = [[table.size // 2, *table.counts[table.size // 2 : -1]] for table in gaussian_tables()]
    return np.concatenate(rows).astype(np.uint16)


def _quantile_steps() -> NDArray[np.uint16]:
    """The noise's positive quantiles, in units of 2^-16, each less the one before; the first is whole."""
    upper = np.rint(noise._quantiles()[2**15 :].astype(np.float64) * 2**16)
    return np.diff(upper, prepend=0.0).astype(np.uint16)


def _screens() -> Traversable:
    """The package's adapter for screens."""
    return shipped_weights(Method.CONDITIONAL, shipped_fingerprint(Method.CONDITIONAL, "screen"))


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
    with as_file(shipped_weights(Method.CONDITIONAL)) as shipped, as_file(_screens()) as screens:
        files, about = bundles(arguments.model or shipped)
        changes = {} if arguments.model else dict([change(shipped, screens)])
    manifest = {**about, "files": {bundle.name: bundle.write(folder) for bundle in files}}
    manifest["adapters"] = {fingerprint: bundle.write(folder) for fingerprint, bundle in changes.items()}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for name, entry in {**manifest["files"], **manifest["adapters"]}.items():
        print(f"{name:10} {entry['bytes']:9} bytes, {entry['unpacked']:9} unpacked")


if __name__ == "__main__":
    main()
