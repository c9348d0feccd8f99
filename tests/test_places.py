"""Places: paths and URLs, on fsspec's memory and on a real server of S3's protocol; one line where it fails."""

import importlib.util
import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import regrain
from batch.pictures import make_tree, write_picture
from regrain import image, places
from regrain.cli import main
from regrain.errors import BitstreamError, ImageError, OutputError, UsageError


def needs(*packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}: pip install 'regrain[dev]'")


PHOTO = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def png():
    buffer = io.BytesIO()
    image.write(image.Picture(PHOTO), buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "url"),
    [("s3://b/k", True), ("zip://a::b.zip", True), ("simplecache::s3://b", True), ("a.png", False), ("c:/a", False),
     ("C:\\a", False), ("a/b://c", False), ("1://x", False), (b"s3://b", False), (3, False)],
)  # fmt: skip
def test_what_a_url_is(name, url):
    assert places.is_url(name) is url


def test_without_fsspec_one_line_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.chdir(tmp_path)
    words = "s3:// needs fsspec; install it with: pip install 'regrain[remote]'"
    with pytest.raises(UsageError) as caught:
        places.open_binary("s3://bucket/key")
    assert str(caught.value) == words
    for arguments in (["encode", "s3://b/a.png", "a.rgn"], ["inspect", "s3://b/a.rgn"], ["encode", "s3://b/", "out/"]):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
    assert os.listdir() == []


@needs("fsspec")
class TestMemory:
    @pytest.fixture(autouse=True)
    def store(self, tmp_path, monkeypatch):
        import fsspec

        monkeypatch.chdir(tmp_path)
        self.store = fsspec.filesystem("memory")
        self.store.store.clear()
        self.store.pseudo_dirs[:] = [""]
        self.store.pipe_file("/in/a.png", png())
        self.store.pipe_file("/in/below/b.png", png())
        self.store.pipe_file("/in/below/c.txt", b"no picture")

    def test_the_functions_take_urls(self):
        data = regrain.encode("memory://in/a.png", quality=30)
        assert data == regrain.encode(PHOTO, quality=30)
        self.store.pipe_file("/a.rgn", data)
        assert regrain.inspect("memory://a.rgn").width == 32
        assert regrain.decode("memory://a.rgn", realism=0).size == (32, 24)
        with pytest.raises(ImageError, match=r"^memory://in/no.png: no such file$"):
            regrain.encode("memory://in/no.png")
        with pytest.raises(BitstreamError, match=r"^cannot read memory://no.rgn: there is no such file or bucket$"):
            regrain.decode("memory://no.rgn")

    def test_the_command_line_takes_urls(self, capsys):
        assert main(["encode", "memory://in/a.png", "memory://out/a.rgn", "--json"]) == 0
        assert f'"input_bytes": {len(png())}' in capsys.readouterr().out
        assert main(["encode", "memory://in/a.png", "memory://out/a.rgn"]) == 7
        assert "memory://out/a.rgn exists; --overwrite replaces it" in capsys.readouterr().err
        assert main(["decode", "memory://out/a.rgn", "a.png", "--quiet"]) == 0
        assert image.read("a.png").width == 32
        assert main(["inspect", "memory://out/a.rgn"]) == 0

    def test_a_tree_from_there_and_to_there(self, capsys):
        assert main(["encode", "memory://in", "out/", "-q", "30", "--quiet"]) == 0
        assert main(["encode", "memory://in/", "memory://out", "-q", "30"]) == 0
        assert "2 pictures" in capsys.readouterr().err
        assert self.store.cat("/out/below/b.rgn") == Path("out/below/b.rgn").read_bytes()
        assert main(["encode", "memory://in/", "memory://out/", "-q", "30"]) == 7
        assert "memory://out/a.rgn and 1 more exist" in capsys.readouterr().err
        assert main(["encode", "memory://in/**/*.png", "memory://out/", "--skip-existing"]) == 0
        assert "0 pictures, 0 bytes -> 0, 0.0:1, 2 skipped" in capsys.readouterr().err
        assert main(["decode", "memory://out/", "memory://back/", "--quiet"]) == 0
        assert sorted(self.store.find("/back")) == ["/back/a.png", "/back/below/b.png"]

    def test_memory_is_of_one_process(self, capsys):
        for flags in (["--jobs", "2"], ["--engine", "ray"]):
            assert main(["encode", "memory://in/", "out/", *flags]) == 2
            assert "memory:// is of one process alone" in capsys.readouterr().err

    def test_names_that_lead_out_of_the_folder_are_failures(self, monkeypatch, capsys):
        entries = [places.Entry("memory://in/a.png", name, 9) for name in ("../a.png", "/a.png", "b/../../c.png")]
        monkeypatch.setattr(places, "tree", lambda url: iter(entries))
        assert main(["encode", "memory://in/", "out/"]) == 1
        assert capsys.readouterr().err.count("its name leads out of the folder") == 3
        assert os.listdir() == []

    def test_an_archive_is_read_and_not_written(self, capsys):
        make_tree(Path("in"), 2)
        with zipfile.ZipFile("photos.zip", "w") as archive:
            archive.write("in/0/0.png", "deep/0.png")
            archive.write("in/0/1.png", "deep/er/1.png")
        assert main(["encode", "zip://deep::photos.zip", "out/", "--quiet"]) == 0
        assert sorted(os.listdir("out")) == ["0.rgn", "er"]
        assert main(["encode", "in", "zip://x::out.zip"]) == 7
        assert "archives and chains are read only" in capsys.readouterr().err

    def test_a_scheme_that_nobody_knows(self, capsys):
        assert main(["encode", "nonsense://b/a.png", "a.rgn"]) == 2
        assert "nonsense://b/a.png cannot be used: Protocol not known" in capsys.readouterr().err

    def test_a_store_that_shows_half_files_gets_them_under_another_name(self, tmp_path, monkeypatch):
        from fsspec.implementations.local import LocalFileSystem

        names, real = [], LocalFileSystem.pipe_file

        def watched(self, path, value, **rest):
            names.append(os.path.basename(path))
            return real(self, path, value, **rest)

        monkeypatch.setattr(LocalFileSystem, "pipe_file", watched)
        places.put(b"whole", f"file://{tmp_path}/new/a.rgn")
        assert (tmp_path / "new/a.rgn").read_bytes() == b"whole"
        assert names[0].startswith(".regrain-")
        assert os.listdir(tmp_path / "new") == ["a.rgn"]

        def full(self, path, value, **rest):
            real(self, path, value[:2])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(LocalFileSystem, "pipe_file", full)
        with pytest.raises(OutputError, match=r"a.rgn: cannot be written: No space left on device$"):
            image.write_bytes(b"other", f"file://{tmp_path}/new/a.rgn")
        assert (tmp_path / "new/a.rgn").read_bytes() == b"whole"
        assert os.listdir(tmp_path / "new") == ["a.rgn"]


@pytest.fixture(scope="module")
def server():
    """A server of S3's protocol in a thread."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    server.stop()


@needs("s3fs", "moto")
class TestBucket:
    @pytest.fixture(autouse=True)
    def bucket(self, server, tmp_path, monkeypatch):
        import s3fs

        monkeypatch.chdir(tmp_path)
        named = {"AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "something"}
        for name, value in {**named, "AWS_DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        self.store = s3fs.S3FileSystem()
        if not self.store.exists("photos"):
            self.store.mkdir("photos")
        make_tree(Path("in"), 3)
        self.store.put("in", "photos/in", recursive=True)
        yield
        self.store.rm("photos/in", recursive=True)
        s3fs.S3FileSystem.clear_instance_cache()

    def test_a_bucket_there_and_back_by_two_processes(self, capsys):
        assert main(["encode", "s3://photos/in", "s3://photos/in/out/", "-q", "30", "--jobs", "2"]) == 0, (
            capsys.readouterr().err
        )
        assert main(["encode", "in", "out", "-q", "30", "--quiet", "--jobs", "1"]) == 0
        for name in ("0/0", "0/1", "1/2"):
            assert self.store.cat(f"photos/in/out/{name}.rgn") == Path(f"out/{name}.rgn").read_bytes()
        assert main(["encode", "s3://photos/in", "s3://photos/in/out/", "--skip-existing", "--jobs", "1"]) == 0
        assert "3 skipped" in capsys.readouterr().err
        assert main(["decode", "s3://photos/in/out", "back/", "--jobs", "1", "--quiet"]) == 0
        assert image.read("back/1/2.png").width == 32
        assert regrain.inspect("s3://photos/in/out/0/0.rgn").width == 32

    def test_a_bucket_that_is_not_there(self, capsys):
        assert main(["encode", "in", "s3://nowhere/out/", "--jobs", "1"]) == 7
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert err.startswith("regrain: error: s3://nowhere/out/0/0.rgn: ")
        assert "2 more are not done" in err
        assert main(["encode", "s3://nowhere/in/", "out/", "--jobs", "1"]) == 3
        assert capsys.readouterr().err.count("\n") == 1

    def test_a_bucket_that_refuses(self, capsys, monkeypatch):
        async def refuse(self, *arguments, **rest):
            raise PermissionError("Access Denied")

        monkeypatch.setattr(type(self.store), "_pipe_file", refuse)
        type(self.store).clear_instance_cache()
        assert main(["encode", "in", "s3://photos/in/out/", "--jobs", "1"]) == 7
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "s3://photos/in/out/0/0.rgn: cannot be written: access is refused (Access Denied)" in err


def test_times_of_change(tmp_path):
    path = write_picture(tmp_path / "a.png")
    os.utime(path, (5, 7.5))
    assert places.modified(str(path)) == 7.5
    assert places.size(path) == path.stat().st_size
