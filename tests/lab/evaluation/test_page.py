"""One page twice: both say the same, pictures are inside, and no name becomes mark-up."""

import base64
import re

from regrain_lab.evaluation.page import Heading, Picture, Table, Text, html, markdown

BLOCKS = [
    Heading("Results", 1),
    Text("Every rate is a file."),
    Table(["codec", "bpp"], [["JPEG", "0.25"], ["a|b <i> [x](y) *z*", "-1 %"]]),
    Picture("results/rate.svg", "PSNR over bits"),
]


def test_markdown():
    lines = markdown(BLOCKS).splitlines()
    assert lines[0] == "# Results"
    assert lines[4:8] == ["| codec | bpp |", "| --- | ---: |", "| JPEG | 0.25 |", lines[7]]
    assert lines[7] == r"| a\|b \<i\> \[x\](y) \*z\* | -1 % |"
    assert lines[9] == "![PSNR over bits](results/rate.svg)"


def test_html_holds_its_pictures_and_needs_nothing_else():
    page = html(BLOCKS, {"results/rate.svg": b"<svg/>"})
    assert "<title>Results</title>" in page
    assert base64.b64encode(b"<svg/>").decode() in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "a|b &lt;i&gt; [x](y) *z*" in page


def test_text_columns_stand_to_the_left():
    table = Table(["codec", "version", "rows"], [["a", "b", "1"]], left=2)
    assert "| --- | --- | ---: |" in markdown([table])
    assert html([table], {}).count(' class="text"') == 4


def test_a_raster_picture_is_embedded_as_what_it_is():
    for suffix in ("png", "webp"):
        page = html([Picture(f"results/crops.{suffix}", "crops")], {f"results/crops.{suffix}": b"pixels"})
        assert f'src="data:image/{suffix};base64,{base64.b64encode(b"pixels").decode()}"' in page
