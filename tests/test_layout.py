"""The house: who may import whom, what stays out of which room, and how long things may get; read with `ast` alone."""

import ast
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import regrain
import regrain_lab

HOUSES = {"regrain": Path(regrain.__file__).parent, "regrain_lab": Path(regrain_lab.__file__).parent}
LAYERS = [
    {"errors"},
    {"configuration", "loading", "places", "tiles", "varint"},
    {"output"},
    {"content", "framing"},
    {"image", "bitstream", "checkpoint"},
    {"torch_checkpoint", "layers", "adapter"},
    {"entropy", "diffusion"},
    {"files", "memory", "metrics", "onnx", "options"},
    {"hub"},
    {"shipped"},
    {"conditional", "progressive", "palette"},
    {"registry", "search"},
    {"draft", "effort", "layering", "inspection", "restoration"},
    {"codec", "samples"},
    {"halves", "many", "pretrained", "workers"},
    {"types"},
    {"__init__"},
    {"batch", "server"},
    {"cli", "pillow"},
    {"__main__"},
    {"lab.metrics"},
    {"lab.evaluation"},
    {"lab.explanation"},
    {"lab.trainable"},
    {"lab.training"},
    {"lab.cli"},
]
"""The rooms of both houses, from the ground up; those of the laboratory stand on the whole codec."""
LAB = {"lab", "lab.metrics", "lab.evaluation", "lab.explanation", "lab.trainable", "lab.training", "lab.cli"}


def short(module: str) -> str:
    """`regrain.a.b` as `a.b`, `regrain_lab.a.b` as `lab.a.b`."""
    house, _, rest = module.partition(".")
    return ".".join(filter(None, ["lab" if house == "regrain_lab" else "", rest])) or "__init__"


FILES = {
    short(".".join([house, *path.relative_to(root).with_suffix("").parts]).removesuffix(".__init__")): path
    for house, root in HOUSES.items()
    for path in sorted(root.rglob("*.py"))
}
NAMES = list(FILES)
PILLOW_ROOMS = ("image", "pillow", "lab.evaluation.baselines", "lab.evaluation.contact_sheet")


@dataclass(frozen=True)
class Import:
    """One imported name: a module of our `own`, or the `foreign` package of it; `running` unless for types only."""

    own: str | None
    foreign: str | None
    running: bool


@cache
def imports(name: str) -> tuple[Import, ...]:
    """All imports of a module, those inside functions too."""
    return tuple(_walk(ast.parse(FILES[name].read_text(encoding="utf-8")), name, running=True))


def _walk(node: ast.AST, name: str, *, running: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (_named(alias.name, running) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, name)
            yield from (_named(f"{base}.{alias.name}", running) for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _walk(child, name, running=False)
        else:
            yield from _walk(child, name, running=running)


def _absolute(node: ast.ImportFrom, name: str) -> str:
    assert not node.level, f"{name} imports by a relative name"
    return node.module or ""


def _named(target: str, running: bool) -> Import:
    """`a.b.C` is module `a.b` where `a.b.C` is none."""
    if target.partition(".")[0] not in HOUSES:
        return Import(None, target.partition(".")[0], running)
    rest = short(target)
    while rest not in FILES:
        rest = rest.rpartition(".")[0] or "__init__"
    return Import(rest, None, running)


def reached(name: str) -> set[str]:
    """Modules that running all of `name` can load: its imports, theirs, and the `__init__` of every room on the way."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        module = waiting.pop()
        found.add(module)
        room = module.rpartition(".")[0]
        named = {entry.own for entry in imports(module) if entry.own and entry.running}
        waiting |= (named | ({room} & set(FILES))) - found
    return found


def foreign(name: str) -> set[str]:
    return {entry.foreign for module in reached(name) for entry in imports(module) if entry.foreign and entry.running}


def room(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "lab" and len(parts) > 1 else parts[0]


def rank(name: str) -> int:
    return next(level for level, rooms in enumerate(LAYERS) if room(name) in rooms)


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    length = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        length -= node.body[0].end_lineno - node.body[0].lineno + 1
    return length


def existing(*names: str) -> list[str]:
    return [name for name in NAMES if any(name == wanted or name.startswith(wanted + ".") for wanted in names)]


@pytest.mark.parametrize("name", [name for name in NAMES if room(name) not in LAB])
def test_the_codec_never_imports_the_laboratory(name):
    assert not {entry.own for entry in imports(name) if entry.own and room(entry.own) in LAB}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "lab"])
def test_every_module_has_a_room_and_imports_downward_only(name):
    assert any(room(name) in rooms for rooms in LAYERS), f"{name} stands in no layer"
    for entry in imports(name):
        if entry.own and room(entry.own) != room(name):
            assert rank(entry.own) < rank(name), f"{name} imports {entry.own}"


def test_no_import_circles():
    graph = {name: {entry.own for entry in imports(name) if entry.own} - {name} for name in NAMES}
    while leaves := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph, f"a circle runs through {sorted(graph)}"


@pytest.mark.parametrize("name", existing("errors", "bitstream", "configuration", "framing"))
def test_the_format_needs_the_standard_library_only(name):
    assert foreign(name) <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", existing("entropy.coder", "entropy.tables", "diffusion.noise"))
def test_symbols_and_noise_are_made_without_torch(name):
    assert foreign(name) <= set(sys.stdlib_module_names) | {"numpy", "constriction"}


WITHOUT_TORCH = existing(
    "onnx", "palette.decode", "palette.encode", "palette.model", "diffusion.parametrize", "diffusion.sampler",
    "diffusion.schedule", "diffusion.unconditional_config", "progressive.decode",
    "progressive.encode",
)  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_nothing_of_coding_without_torch_reaches_it(name):
    allowed = {"numpy", "constriction", "safetensors", "onnxruntime", "PIL"}
    assert foreign(name) <= set(sys.stdlib_module_names) | allowed


TORCH = {
    "conditional.texture", "conditional.torch_backend", "conditional.transform", "diffusion.prior", "diffusion.unet",
    "layers", "palette.autoencoder", "palette.diffusers_adapter", "registry", "torch_checkpoint",
}  # fmt: skip
"""The modules of the codec that import torch; the registry does so to see whether a device is there."""


def test_torch_is_imported_where_training_and_gpus_need_it_and_nowhere_else():
    codec = [name for name in NAMES if room(name) not in LAB]
    assert {name for name in codec if any(one.foreign == "torch" and one.running for one in imports(name))} == TORCH


ROAD = existing(
    "registry", "conditional.codec", "conditional.encode", "conditional.decode", "conditional.context_model",
    "conditional.denoising", "conditional.networks", "conditional.coding_order",
    "conditional.grid", "conditional.onnx_backend", "progressive.codec", "progressive.encode", "progressive.decode",
    "palette.codec", "palette.encode", "palette.decode",
)  # fmt: skip


@pytest.mark.parametrize("name", ROAD)
def test_every_call_on_the_road_has_a_type(name):
    """Neither Any nor a look-up by name: an editor finds the definition of everything that is called."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"Any", "import_module", "__import__"}


@pytest.mark.parametrize("name", existing("conditional.decode"))
def test_the_decoder_ships_without_the_encoder(name):
    assert not {module for module in reached(name) if module == "conditional.encode" or room(module) in LAB}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in existing(*PILLOW_ROOMS)])
def test_pillow_stays_in_its_rooms(name):
    assert "PIL" not in {entry.foreign for entry in imports(name) if entry.running}


@pytest.mark.parametrize(
    ("rooms", "strangers"),
    [("diffusion", {"bitstream", "entropy", "image"}), ("entropy", {"bitstream", "diffusion", "image"})],
)
def test_diffusion_sees_no_byte_and_entropy_no_noise_level(rooms, strangers):
    for name in existing(rooms):
        assert not strangers & {room(module) for module in reached(name)}, name


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_pickled(name):
    assert not {"pickle", "dill", "joblib", "shelve"} & {entry.foreign for entry in imports(name)}


def test_no_room_without_a_name():
    nameless = {"utils", "util", "common", "helpers", "base", "misc"}
    assert not nameless & {part for name in NAMES for part in name.split(".")}
    flat = (name.removeprefix("lab.").replace("training.losses", "losses") for name in NAMES)
    assert max(name.count(".") for name in flat) <= 1  # the losses are a room in the laboratory's training


@pytest.mark.parametrize("name", NAMES)
def test_files_and_functions_are_short(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 300
    assert not {node.name: body_length(node) for node in functions(name) if body_length(node) > 60}


def test_most_files_and_functions_are_shorter_still():
    lengths = sorted(body_length(node) for name in NAMES for node in functions(name))
    assert statistics.median(lengths) <= 8
    assert lengths[int(0.9 * (len(lengths) - 1))] <= 25
    assert statistics.median(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES.values()) <= 150


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_annotated(name):
    for node in functions(name):
        given = node.args
        named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        bare = [entry.arg for entry in named if entry.annotation is None and entry.arg not in ("self", "cls")]
        assert not bare, f"{node.name} has {bare} without a type"
        assert node.returns is not None, f"{node.name} has no return type"


@pytest.mark.parametrize("name", NAMES)
def test_the_public_is_documented(name):
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    for node in tree.body:
        if any(ast.unparse(mark) == "overload" for mark in getattr(node, "decorator_list", ())):
            continue  # a signature alone: the function that follows has the docstring
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
