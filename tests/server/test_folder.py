"""Paths of requests: what is below the root is named, and nothing else."""

import os
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrain.server.folder import listing, locate


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a file, a folder, hidden things, a pipe and links in, out, and in a circle."""
    top = tmp_path_factory.mktemp("top").resolve()
    (top / "secret").write_text("secret")
    root = top / "root"
    (root / "inner").mkdir(parents=True)
    for name in ("a.txt", ".hidden", "inner/b.txt", 'a<b>&"c.rgn', "ä b%2F.rgn", "javascript:alert(1)"):
        (root / name).write_text(name)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("x")
    (root / "in").symlink_to("inner/b.txt")
    (root / "out").symlink_to("../secret")
    (root / "up").symlink_to("..")
    (root / "circle").symlink_to("circle")
    (root / "nowhere").symlink_to("none")
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize(
    ("path", "name"),
    [(b"/", ""), (b"/a.txt", "a.txt"), (b"/inner/", "inner"), (b"/inner/b.txt", "inner/b.txt"), (b"/in", "inner/b.txt"),
     (b"/%61.txt", "a.txt"), (b"/%C3%A4%20b%252F.rgn", "ä b%2F.rgn")],
)  # fmt: skip
def test_what_is_there_is_named(root, path, name):
    place = locate(root, path)
    assert place is not None
    assert place.path == root / name


@pytest.mark.parametrize(
    "path",
    [
        b"", b"a.txt", b"//", b"//a.txt", b"/inner//b.txt", b"/none", b"/a.txt/b", b"/./a.txt", b"/.", b"/..",
        b"/../secret", b"/%2e%2e/secret", b"/.%2e/secret", b"/inner/../../secret", b"/inner%2Fb.txt", b"/..%2fsecret",
        b"/..%5csecret", b"/a.txt%00", b"/%00", b"/out", b"/up/", b"/up/secret", b"/circle", b"/nowhere", b"/pipe",
        b"/.hidden", b"/.git/config", b"/%2egit/config", b"/%2Fetc%2Fpasswd", b"/" + b"x" * 5000, b"/%", b"/%ff%fe",
        b"/%252e%252e/secret",
    ],
)  # fmt: skip
def test_what_is_not_to_be_shown_does_not_exist(root, path):
    assert locate(root, path) is None


@given(st.lists(st.sampled_from(
    [b"/", b"..", b".", b"%2e", b"%2f", b"%5c", b"\\", b"%00", b"secret", b"inner", b"up", b"out", b"in"]
), max_size=8))  # fmt: skip
def test_no_path_leads_out(root, parts):
    place = locate(root, b"/" + b"".join(parts))
    assert place is None or place.path == root or root in place.path.parents
    assert place is None or place.path.name != "secret"


def test_a_list_escapes_names_and_leaves_out_what_is_not_shown(root):
    page = listing(root, root, "<root>/")
    assert "<root>" not in page
    assert "&lt;root&gt;/" in page
    assert "a&lt;b&gt;&amp;&quot;c.rgn" in page
    assert f'href="./{quote("ä b%2F.rgn", safe="")}?format=webp"' in page
    assert 'href="./javascript%3Aalert%281%29"' in page
    assert 'href="./inner/"' in page
    assert 'href="./a.txt"' in page
    assert not any(name in page for name in ("hidden", ".git", "out", "secret", "circle", "pipe", "../"))
    assert 'href="../"' in listing(root, root / "inner", "inner/")


def test_bytes_that_are_no_text_are_escaped(tmp_path):
    name = b"a\xff.rgn"
    (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    page = listing(tmp_path.resolve(), tmp_path, "x/")
    page.encode()
    assert "a\\xff.rgn" in page
    assert 'href="./a%FF.rgn?format=png"' in page
    assert locate(tmp_path.resolve(), b"/a%FF.rgn") is not None


def test_a_long_list_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("regrain.server.folder._MOST", 3)
    for number in range(5):
        (tmp_path / f"{number}").touch()
    page = listing(tmp_path.resolve(), tmp_path, "x/")
    assert page.count("<tr>") == 3
    assert "2 more" in page
