"""The server: files with the headers of isolated pages, .rgn files as pictures, hostile requests, limits."""

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

import regrain
from regrain.bitstream import MIME
from regrain.server.pictures import Limits

pytest.importorskip("starlette", reason="needs Starlette, of regrain[serve]")
pytest.importorskip("httpx2", reason="needs httpx2, which Starlette tests with")

from starlette.testclient import TestClient

from regrain.server.site import site

HOME = "http://localhost"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("top") / "root"
    (folder / "page").mkdir(parents=True)
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "page" / "index.html").write_text("<p>page</p>")
    for name in ("a.wasm", "a.mjs", "a.onnx", "a.js", "a.txt"):
        (folder / name).write_text(name)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (folder / "photo.rgn").write_bytes(regrain.encode(noise, quality=20))
    clear = np.dstack([noise, np.full((48, 64), 128, np.uint8)])
    (folder / "alpha.rgn").write_bytes(regrain.encode(clear, quality=20))
    (folder / "broken.rgn").write_bytes((folder / "photo.rgn").read_bytes()[:-3])
    (folder / "none.rgn").write_bytes(b"GIF89a")
    (folder / "link.rgn").symlink_to("../secret.txt")
    return folder


@pytest.fixture(scope="module")
def client(root):
    """Open throughout, so that one process decodes for all."""
    with TestClient(site(root, Limits(seconds=600, max_pixels=10_000)), HOME, follow_redirects=False) as client:
        yield client


def test_every_answer_isolates_its_page(client):
    for path in ("/", "/page/", "/a.wasm", "/photo.rgn", "/photo.rgn?max-size=3", "/photo.rgn?steps=0", "/missing"):
        headers = client.get(path).headers
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.wasm", "application/wasm"), ("a.mjs", "text/javascript"), ("a.js", "text/javascript"),
     ("a.onnx", "application/octet-stream"), ("photo.rgn", MIME), ("page/", "text/html")],
)  # fmt: skip
def test_files_have_their_type(client, name, kind):
    assert client.get(f"/{name}").headers["content-type"].removesuffix("; charset=utf-8") == kind


def test_a_folder_is_its_page_or_a_list(client):
    assert client.get("/page/").text == "<p>page</p>"
    moved = client.get("/page")
    assert (moved.status_code, moved.headers["location"]) == (307, "/page/")
    page = client.get("/")
    assert "photo.rgn?format=png" in page.text
    assert "link.rgn" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/photo.rgn/").status_code == 404


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "avif"])
def test_a_file_decodes_to_a_picture(client, root, format):
    if format == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    answer = client.get(f"/photo.rgn?format={format}&realism=0")
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"image/{format}")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == (format.upper(), (64, 48))
    if format in ("png", "webp"):
        assert picture.convert("RGB").tobytes() == regrain.decode(root / "photo.rgn", realism=0).tobytes()


def test_every_knob_turns_something(client):
    plain = client.get("/photo.rgn?steps=2").content
    for query in ("max-size=20", "realism=0.2", "seed=5", "steps=3", "format=jpeg"):
        others = [] if query.startswith("steps") else ["steps=2"]
        answer = client.get(f"/photo.rgn?{'&'.join([query, *others])}")
        assert answer.status_code == 200
        assert answer.content != plain, query
    assert Image.open(io.BytesIO(client.get("/photo.rgn?max-size=20").content)).size == (20, 15)


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("steps=0", "steps is 0; allowed is a whole number from 1 to 1000"),
        ("steps=1e9", "steps is '1e9'; allowed is a whole number"),
        ("realism=nan", "realism is nan; allowed is a number from 0 to 1"),
        ("realism=", "realism is ''"),
        ("seed=-1", "seed is -1"),
        ("max-size=0", "max_size is 0; allowed is a whole number from 1"),
        ("format=gif", "format is 'gif'; allowed are png, jpeg, webp, avif"),
        ("format=../x", "allowed are png"),
        ("model=/etc/passwd", "'model' is no parameter; allowed are format, max-size, realism, seed, steps"),
        ("device=cuda", "'device' is no parameter"),
        ("seed=1&seed=2", "seed is given twice"),
        ("seed=" + "9" * 5000, "seed is"),
        ("%0d%0aSet-Cookie:x=1", "is no parameter"),
        ("%ff%fe=1", "is no parameter"),
    ],
)
def test_what_is_not_allowed_is_one_line(client, query, line):
    answer = client.get(f"/photo.rgn?{query}")
    assert answer.status_code == 400
    assert line in answer.text
    assert answer.text.count("\n") == 1
    assert len(answer.text) < 200


def test_files_that_cannot_be_decoded_say_why(client, root):
    for name in ("broken.rgn", "none.rgn"):
        answer = client.get(f"/{name}?format=png")
        assert answer.status_code == 422
        assert str(root) not in answer.text
        assert answer.text.count("\n") == 1
    answer = client.get("/alpha.rgn?format=jpeg")
    assert (answer.status_code, "cannot hold alpha" in answer.text) == (422, True)
    assert client.get("/broken.rgn").status_code == 200  # as a file it is what it is


def test_limits_hold_before_anything_is_decoded(root):
    for limits, line in ((Limits(max_pixels=100), "pixels"), (Limits(max_memory=10**8), "--max-memory")):
        with TestClient(site(root, limits), HOME) as client:
            answer = client.get("/photo.rgn?format=png")
            assert (answer.status_code, line in answer.text) == (413, True)


def test_what_takes_too_long_is_ended(root):
    """A thousand steps of this picture would take minutes."""
    (root / "large.rgn").write_bytes(regrain.encode(np.zeros((512, 512, 3), np.uint8), quality=0))
    with TestClient(site(root, Limits(seconds=2)), HOME) as client:
        start = time.perf_counter()
        answer = client.get("/large.rgn?steps=1000")
        assert (answer.status_code, "--timeout" in answer.text) == (413, True)
        assert time.perf_counter() - start < 60
        assert client.get("/photo.rgn?max-size=4").status_code in (200, 413)  # it goes on, in a new process


def test_one_more_than_may_be_decoded_at_once_is_sent_away(root):
    with TestClient(site(root, Limits(decodes=1, seconds=600)), HOME) as client:
        answers = []
        calls = [
            threading.Thread(target=lambda: answers.append(client.get("/photo.rgn?steps=40"))) for _ in range(4)
        ]  # fmt: skip
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200, 503, 503, 503]
        assert all(answer.headers["retry-after"].isdecimal() for answer in answers if answer.status_code == 503)


@pytest.mark.parametrize("path", ["/a.txt", "/photo.rgn?max-size=5"])
def test_what_has_not_changed_is_not_sent_again(client, root, path):
    first = client.get(path)
    tag, dated = first.headers["etag"], first.headers["last-modified"]
    for headers in ({"If-None-Match": tag}, {"If-None-Match": f'"x", W/{tag}'}, {"If-Modified-Since": dated}):
        again = client.get(path, headers=headers)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_tag_is_that_of_file_and_query(client, root):
    tags = {client.head(f"/photo.rgn?{query}").headers["etag"] for query in ("seed=1", "seed=2", "steps=2", "steps=3")}
    assert len(tags) == 4
    assert client.head("/photo.rgn?seed=1&steps=2").headers["etag"] == client.head(
        "/photo.rgn?steps=2&seed=1"
    ).headers["etag"]  # fmt: skip


def test_head_is_get_without_a_body(client):
    for path in ("/", "/a.txt", "/photo.rgn", "/photo.rgn?max-size=5"):
        head, whole = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        same = ("content-type", "etag", "last-modified", "cache-control")
        assert [head.headers.get(name) for name in same] == [whole.headers.get(name) for name in same]
        assert head.headers.get("content-length") in (None, whole.headers["content-length"])
    assert client.head("/photo.rgn?steps=0").status_code == 400


def test_parts_of_a_file_can_be_asked_for(client):
    answer = client.get("/a.wasm", headers={"Range": "bytes=2-3"})
    assert (answer.status_code, answer.text) == (206, "wa")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(client, method):
    assert client.request(method, "/a.txt").status_code == 405


@pytest.mark.parametrize(
    "path", ["/%2e%2e/secret.txt", "/..%2fsecret.txt", "/link.rgn", "/link.rgn?format=png", "/%00"]
)
def test_nothing_outside_is_shown(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.text == "there is no such file\n"


@pytest.mark.parametrize(
    ("host", "name", "status"),
    [
        ("localhost", "localhost:8000", 200),
        ("localhost", "127.0.0.1", 200),
        ("localhost", "[::1]:80", 200),
        ("localhost", "elsewhere.example", 400),
        ("localhost", "localhost.elsewhere.example", 400),
        ("pictures.example", "pictures.example", 200),
        ("0.0.0.0", "elsewhere.example", 200),
        ("::", "elsewhere.example", 200),
    ],
)
def test_requests_name_a_host_that_is_ours(root, host, name, status):
    """A page elsewhere can make its own name lead to this machine, but not what its requests call it."""
    assert TestClient(site(root, host=host), HOME).get("/a.txt", headers={"Host": name}).status_code == status
