"""The tables: what is written is read, and no kill and no second run spoils it."""

from dataclasses import replace

import pytest

from lab.evaluation.invented import JPEG, WEBP
from lab.evaluation.invented import OURS as OUR_TIMING
from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation.table import Distribution, Row, Table, Timing, metrics_of, read


def row(image: str = "a.png", setting: str = "10", **fields) -> Row:
    filled = {"metrics": {"psnr": 30.25, "ssim": None}, "bytes": 100, "bpp": 0.5, "width": 40, "height": 40}
    return Row(image, "JPEG", "1.0", "4:2:0, progressive", setting, **{**filled, **fields})


OURS = {"codec": "regrain", "seed": 0, "steps": 4, "realism": 0.5, "fingerprint": "01020304-05060708"}
EVERY = [
    row(),
    row(setting="20", metrics={"psnr": float("inf"), "ssim": 0.5}, encode_s=0.125, decode_s=2.0, peak_mb=300.5),
    row(image='odd "name", with commas.png', machine="a processor, 2 cores", threads=2),
    row(image="b.png", metrics={}, bytes=None, bpp=None, error="ImageError: too large"),
    Row("a.png", version="0.1", options="", setting="45", metrics={"psnr": 1.5, "ssim": 1.0}, **OURS),
]


@pytest.fixture
def table(tmp_path):
    writer = Table(Row, tmp_path / "t.csv", ["psnr", "ssim"])
    for entry in EVERY:
        writer.add(entry)
    return tmp_path / "t.csv"


def test_what_is_written_is_read(table):
    assert read(Row, table) == EVERY
    assert metrics_of(read(Row, table)) == ["psnr", "ssim"]
    assert table.read_text().startswith(
        "image,codec,version,options,setting,seed,steps,realism,fingerprint,width,height,"
    )


def test_each_row_is_in_the_file_before_the_next(tmp_path):
    writer = Table(Row, tmp_path / "t.csv", ["psnr", "ssim"])
    for count, entry in enumerate(EVERY, start=1):
        writer.add(entry)
        assert len(read(Row, tmp_path / "t.csv")) == count


def test_a_file_cut_off_anywhere_loses_its_last_line_alone(table):
    data = table.read_bytes()
    ends = [index + 1 for index, byte in enumerate(data) if byte == ord("\n")]
    for length in sorted({*range(0, len(data), 11), *ends, *(end - 1 for end in ends)}):
        table.write_bytes(data[:length])
        assert read(Row, table) == EVERY[: max(0, sum(end <= length for end in ends) - 1)]


def test_a_half_written_line_is_mended_before_more_is_added(table):
    data = table.read_bytes()
    table.write_bytes(data[:-7])
    writer = Table(Row, table, ["psnr", "ssim"])
    assert set(writer.records) == {entry.key for entry in EVERY[:-1]}
    writer.add(EVERY[-1])
    assert table.read_bytes() == data


def test_opening_what_is_in_order_changes_nothing(table):
    before = table.stat()
    Table(Row, table, ["psnr"])
    assert table.stat().st_mtime_ns == before.st_mtime_ns
    assert table.stat().st_ino == before.st_ino


def test_a_new_metric_is_a_new_column_and_old_rows_lack_it(table):
    writer = Table(Row, table, ["psnr", "lpips_alex"])
    assert not writer.records[EVERY[0].key].holds(["psnr", "lpips_alex"])
    assert writer.records[EVERY[0].key].holds(["psnr", "ssim"])
    again = row(metrics={"psnr": 30.25, "ssim": None, "lpips_alex": 0.25})
    writer.add(again)
    assert metrics_of(read(Row, table)) == ["psnr", "ssim", "lpips_alex"]
    assert read(Row, table) == [again, *EVERY[1:]]
    Table(Row, table, [])
    assert table.read_text().count("\n") == 1 + len(EVERY)


def test_a_row_with_an_error_is_not_measured_again():
    assert EVERY[3].holds(["psnr", "anything"])


@pytest.mark.parametrize("change", ["image", "codec", "version", "options", "setting", "seed", "steps", "fingerprint"])
def test_the_key_is_all_that_tells_rows_apart(change):
    other = Row(**{**vars(EVERY[4]), change: 7 if change in ("seed", "steps") else "other"})
    assert other.key != EVERY[4].key
    assert Row(**{**vars(EVERY[4]), "machine": "another", "encode_s": 9.0}).key == EVERY[4].key


def test_an_error_of_many_lines_is_one_cell(tmp_path):
    writer = Table(Row, tmp_path / "t.csv", [])
    writer.add(row(error="two\nlines", metrics={}))
    assert read(Row, tmp_path / "t.csv")[0].error == "two lines"


def test_no_file_is_no_row(tmp_path):
    assert read(Row, tmp_path / "absent.csv") == []
    (tmp_path / "empty.csv").write_bytes(b"")
    assert read(Row, tmp_path / "empty.csv") == []


def test_another_table_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("name,size\na,1\n")
    with pytest.raises(UsageError, match=r"t\.csv is no table of an evaluation"):
        Table(Row, path, ["psnr"])
    assert path.read_text() == "name,size\na,1\n"


def test_a_spoilt_line_is_named(table):
    table.write_text(table.read_text().replace("30.25", "thirty"))
    with pytest.raises(UsageError, match=r"line 2: .*thirty"):
        read(Row, table)


def test_what_cannot_be_read_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot read"):
        read(Row, tmp_path)


DISTRIBUTIONS = [
    Distribution("regrain", "1", 'a, "b"', "28", 0, 1, 0.5, "0102", 192, 128, bpp=0.25, kid=-0.001, kid_error=0.002),
    Distribution("JPEG", "1", "", "28", None, None, None, "", 192, 128, error="OSError: no"),
]


@pytest.mark.parametrize("records", [[JPEG, WEBP, OUR_TIMING], DISTRIBUTIONS], ids=["timings", "distributions"])
def test_timings_and_distributions_are_read_as_written(tmp_path, records):
    kind, path = type(records[0]), tmp_path / "t.csv"
    writer = Table(kind, path)
    for entry in records:
        writer.add(entry)
    assert read(kind, path) == records
    assert path.read_text().splitlines()[0] == ",".join(vars(records[0]))
    path.write_bytes(path.read_bytes()[:-2])
    assert read(kind, path) == records[:-1]


def test_a_record_is_known_again_after_it_was_written(tmp_path):
    third = replace(DISTRIBUTIONS[0], realism=1 / 3)
    writer = Table(Distribution, tmp_path / "t.csv")
    writer.add(third)
    (again,) = read(Distribution, tmp_path / "t.csv")
    assert again.key == third.key
    assert again.key != replace(third, patches=191).key


@pytest.mark.parametrize("kind", [Row, Timing, Distribution])
@pytest.mark.parametrize("text", ["a,b\n1,2\n", ",\n", "codec\n1,2\n", "\xff"])
def test_another_file_is_refused_in_one_line(tmp_path, kind, text):
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=rf"^[^\n]*t\.csv is no table of {kind.content}[^\n]*$"):
        read(kind, tmp_path / "t.csv")
