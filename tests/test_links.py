"""Every link leads somewhere, in Markdown and in the site that is built of it; no page fetches from elsewhere."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts import links

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", links.markdown(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_of_markdown_leads_somewhere(path):
    assert not [*links.broken_in_markdown(path)]


def test_broken_links_of_markdown_are_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`, c\n\n## Twice\n\n## Twice\n\n[a](#a-b-c) [b](#twice-1) [c](page.md#twice) [d](https://x.y)\n"
    )
    assert not [*links.broken_in_markdown(page)]
    other = tmp_path / "other.md"
    other.write_text("[a](none.md) [b](page.md#none) [c](#none) `[d](none)`\n\n```\n[e](none)\n```\n")
    assert [fault.partition(":")[0] for fault in links.broken_in_markdown(other)] == [
        "none.md",
        "page.md#none",
        "#none",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<a href="none.html">', "no such file"),
        ('<a href="b.html#none">', "no such anchor"),
        ('<a href="#none">', "no such anchor"),
        ('<a href="/b.html">', "begins at the root"),
        ('<img src="none.png">', "no such file"),
        ('<img src="https://x.y/z.png">', "from elsewhere"),
        ('<img srcset="b.html 1x, //x.y/z.png 2x">', "from elsewhere"),
        ('<script src="https://x.y/z.js"></script>', "from elsewhere"),
        ('<link rel="stylesheet" href="https://x.y/z.css">', "from elsewhere"),
        ('<p style="background: url(https://x.y/z.png)">', "from elsewhere"),
        ('<a href="https://x.y">', None),
        ('<a href="b.html#b"><img src="data:,x">', None),
        ('<a href="sub/">', None),
        ('<a href="../beyond.html">', None),
    ],
)
def test_broken_links_of_a_site_are_told(tmp_path, text, why):
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "a.html").write_text(text)
    (site / "b.html").write_text('<h1 id="b">b</h1>')
    (site / "sub" / "index.html").write_text("")
    faults = [*links.broken_in_site(site)]
    assert len(faults) == (why is not None)
    assert why is None or why in faults[0]


def test_style_sheets_fetch_nothing_from_elsewhere(tmp_path):
    (tmp_path / "a.css").write_text("p { background: url(https://x.y/z.png) } @import 'none.css';")
    assert len([*links.broken_in_site(tmp_path)]) == 2


@pytest.mark.slow
@pytest.mark.skipif(not all(map(find_spec, ("mkdocs", "material", "mkdocstrings"))), reason="needs regrain[docs]")
def test_the_site_is_built_without_a_warning_and_its_links_hold(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "docs")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert not [*links.broken_in_site(tmp_path / "docs")]
    page = (tmp_path / "docs" / "reference" / "regrain" / "index.html").read_text(encoding="utf-8")
    assert all(f'id="regrain.{name}"' in page for name in ("encode", "decode", "inspect", "load", "Decoder", "Encoder"))
