"""The table of KID and the Gram distance: what is written is read, other files are refused, what the report says."""

import pytest

from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation.distributions import Distribution, blocks, read, write
from regrain_lab.evaluation.page import markdown


def row(codec: str = "regrain", realism: float | None = None, **figures) -> Distribution:
    return Distribution(
        codec, "1.0", 'a, "b"', "28", 0, 1, realism, "0102", figures.pop("patches", 192), 128, **figures
    )


def test_what_is_written_is_read(tmp_path):
    rows = [
        row(realism=0.5, bpp=0.25, kid=-0.001, kid_error=0.002, gram=0.5),
        row("JPEG", error="OSError: no"),
        row("WebP", bpp=1.0),
    ]
    write(tmp_path / "t.csv", rows)
    assert read(tmp_path / "t.csv") == rows
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == ",".join(Distribution._fields)
    assert read(tmp_path / "absent.csv") == []


def test_a_row_is_known_again_after_it_was_written(tmp_path):
    third = row(realism=1 / 3, kid=1.0)
    write(tmp_path / "t.csv", [third])
    (found,) = read(tmp_path / "t.csv")
    assert found.key == third.key
    assert found.key != row(realism=1 / 3, patches=191).key


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "codec,patches\nx,many\n", "codec\n1,2\n", "\xff"])
def test_another_table_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"^[^\n]*t\.csv is no table of distributions[^\n]*$"):
        read(tmp_path / "t.csv")


def test_what_cannot_be_read_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot read"):
        read(tmp_path)


def test_the_report_says_over_how_many_patches():
    assert blocks([]) == []
    rows = [row(bpp=0.2, kid=0.0042, kid_error=0.0003, gram=0.01), row("JPEG", error="OSError: no")]
    page = markdown(blocks(rows))
    assert "Between the 192 patches of 128 x 128 of the originals" in page
    assert "| regrain | 28 | 0.200 | 192 | 4.200 ± 0.300 | 10.000 |" in page
    assert "| JPEG | 28 |  | 192 |  |  |" in page
