"""Which files of the tree are pages of the site, from where they stand: a hook of mkdocs (`make site-docs`).

README.md, docs/*.md, results/*/*.md, experiments/*/README.md ...      pages; their links hold as they are
what pages link to beside pages: pictures, tables                     files of the site
the public modules                                                     pages of the reference, from the docstrings
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
FACE = {
    "Pictures and files": ["encode", "decode", "deviation_map", "inspect"],
    "Models": ["load", "from_pretrained", "save_pretrained", "push_to_hub"],
    "Batches": ["decode_many", "encode_many", "Encoder", "Decoder"],
    "Halves": ["latents", "from_latents"],
    "Types": ["Picturelike", "Info", "Latents", "Model"],
}
"""What `regrain` has, in the order of the page; its errors have a page of their own."""
REFERENCE = {
    "regrain": "The public functions",
    "regrain.pillow": "The Pillow plugin",
    "regrain.batch": "Many pictures",
    "regrain.options": "Options",
    "regrain.errors": "Errors",
    "regrain.bitstream": "The file",
    "regrain.server.site": "The server",
    "regrain.diffusion.schedule": "Diffusion: the schedule",
    "regrain.diffusion.sampler": "Diffusion: the sampler",
    "regrain.diffusion.noise": "Diffusion: the noise",
    "regrain_lab.metrics": "Laboratory: metrics",
    "regrain_lab.evaluation.bd": "Laboratory: BD-rate",
    "regrain_lab.evaluation.table": "Laboratory: the table",
}
"""Modules with a page of their own, and what its title says of them."""
GUIDE = ["docs/how-it-works.md", "docs/batch.md", "docs/research.md", "docs/FORMAT.md", "docs/NOTATION.md"]
WEIGHTS = ["docs/MODEL_CARD.md", "docs/FAILURES.md", "docs/SEEDS.md", "docs/LOG.md"]
PROJECT = [
    "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md", "scripts/README.md",
    "benchmarks/README.md", "web/README.md",
]  # fmt: skip
INTERACTIVE = "docs/how-it-works.md"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The menu."""
    config.nav = [
        {"Home": "README.md"},
        {"Guide": _titled(GUIDE)},
        {"Weights": _titled(WEIGHTS)},
        {"Results": _titled(_pages("results/*/*.md"))},
        {"Experiments": _titled(_pages("experiments/*/README.md"))},
        {"Reference": [{title: _reference(name)} for name, title in REFERENCE.items()]},
        {"Project": _titled(PROJECT)},
    ]
    return config


def on_page_markdown(markdown: str, page: Page, **kwargs: object) -> str:
    """How it works has a page of figures with sliders, which is no page of this tool."""
    if page.file.src_uri != INTERACTIVE:
        return markdown
    link = '<p><a href="../../how-it-works/">The same with sliders</a>: nine figures, each computed from one photo.</p>'
    heading, _, rest = markdown.partition("\n\n")
    return f"{heading}\n\n{link}\n\n{rest}"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages, and what they link to."""
    named = [page for entry in config.nav or [] for page in _leaves(entry) if not page.startswith("reference/")]
    for name in named:
        files.append(_file(name, config))
    for target in sorted({target for name in named for target in _targets(name)} - {*named}):
        files.append(_file(target, config))
    for name in REFERENCE:
        files.append(File.generated(config, _reference(name), content=_documented(name)))
    return files


def _documented(name: str) -> str:
    """The page of a module: all that it has, or what the public face has, part by part."""
    page = f"# {name}\n\n::: {name}\n    options: {{ show_root_heading: false, show_root_toc_entry: false"
    if name != "regrain":
        return page + " }\n"
    parts = [f"## {part}\n\n" + "\n".join(map(_member, members)) for part, members in FACE.items()]
    return "\n".join([page + ", members: false }\n", *parts])


def _member(name: str) -> str:
    return f"::: regrain.{name}\n    options: {{ heading_level: 3 }}\n"


def _titled(names: list[str]) -> list[dict[str, str]]:
    """Pages with what their first heading says."""
    return [{re.search(r"(?m)^# (.*)", (ROOT / name).read_text(encoding="utf-8"))[1]: name} for name in names]


def _pages(pattern: str) -> list[str]:
    """Pages by a pattern, the newest release and RESULTS first."""
    names = (path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))
    return sorted(names, key=lambda name: (not name.endswith("RESULTS.md"), name))


def _leaves(entry: object) -> Iterator[str]:
    """The pages of a part of the menu."""
    if isinstance(entry, str):
        yield entry
        return
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _leaves(part)


def _targets(name: str) -> Iterator[str]:
    """Files of the tree that a page links to, by their path in it."""
    for link in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        if ":" not in link:
            path = ((ROOT / name).parent / link).resolve()
            if path.is_file() and path.is_relative_to(ROOT):
                yield path.relative_to(ROOT).as_posix()


def _file(name: str, config: MkDocsConfig) -> File:
    """A file of the tree, which stays there; pages of docs/ come at the top of the site."""
    file = File.generated(config, name, abs_src_path=str(ROOT / name))
    file.dest_uri = file.dest_uri.removeprefix("docs/")
    return file


def _reference(name: str) -> str:
    return f"reference/{name}.md"
