"""The report: tables that mark what is partial, both pages, all charts, from the table alone."""

from dataclasses import replace

import pytest

from lab.evaluation.invented import FINGERPRINT, IMAGES, OURS, WEBP, baseline, regrain
from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation import charts, tables
from regrain_lab.evaluation.contact_sheet import ContactSheet
from regrain_lab.evaluation.report import CSV, Attachments, report
from regrain_lab.evaluation.table import Row, Table, read

ROWS = baseline() + baseline("WebP", 0.9) + regrain()
PUBLISHED = "system,steps,bpp,psnr_db,ms_ssim,lpips_alex,dists,source\nHiFiC,,0.149,27.3,0.929,0.093,0.104,a table\n"


def table(found) -> dict[str, dict[str, str]]:
    """A table's cells by row and column."""
    return {line[0]: dict(zip(found.head[1:], line[1:], strict=True)) for line in found.rows}


def test_bd_rates_are_against_every_codec_without_weights():
    found = tables.bd_rates(ROWS, "psnr")
    assert list(found.head[1:]) == ["JPEG", "WebP"]
    cells = table(found)
    assert cells["JPEG"] == {"JPEG": "", "WebP": "+11.1 %"}
    assert cells["WebP"]["JPEG"] == "-10.0 %"
    assert table(tables.bd_rates(ROWS, "lpips_squeeze"))["regrain realism 0"]["JPEG"] == "-20.0 %"
    assert tables.bd_rates(regrain(), "psnr") is None


def test_a_comparison_that_says_less_is_marked():
    far = [replace(row, metrics={"psnr": row.metrics["psnr"] + 100}) for row in baseline("far")]
    some = baseline("some", 0.9)
    some[0] = replace(some[0], metrics={}, error="it broke")
    edge = [replace(row, metrics={"psnr": row.metrics["psnr"] + 4}) for row in baseline("edge")]
    bent = [
        replace(row, metrics={"psnr": row.metrics["psnr"] - 9}) if row.setting == "30" else row
        for row in baseline("bent")
    ]
    none = [replace(row, image="other.png") for row in baseline("none")]
    cells = table(tables.bd_rates(baseline() + far + some + edge + bent + none, "psnr"))
    assert cells["far"]["JPEG"] == "no overlap"
    assert cells["some"]["JPEG"] == "-10.0 % (2)"
    assert "†" in cells["edge"]["JPEG"]
    assert "‡" in cells["bent"]["JPEG"]
    assert cells["none"]["JPEG"] == "no common picture"


def test_means_are_marked_where_pictures_are_missing():
    rows = [*ROWS]
    rows[0] = replace(rows[0], metrics={}, error="it broke")
    found = tables.means(rows, ["psnr", "lpips_alex"])
    lines = [line for line in found.rows if line[0] == "JPEG"]
    assert [line[2] for line in lines] == ["2*", "3", "3", "3"]
    assert lines[0][4].endswith("*")
    assert not lines[1][4].endswith("*")
    assert found.head[-3:] == ["encode s", "decode s", "peak MB"]
    assert lines[0][-3:] == ["0.010", "0.002", "300"]
    assert len(found.rows) == 4 * 4


def test_codecs_say_version_settings_and_weights():
    cells = table(tables.codecs(ROWS))
    assert cells["JPEG"]["version"] == "1.0"
    assert cells["JPEG"]["fixed settings"] == "fixed"
    assert cells["regrain realism 1"]["weights"] == FINGERPRINT
    assert cells["WebP"]["rows"] == "12"


@pytest.fixture
def drawn(monkeypatch):
    """Charts that cost nothing: their panels by title."""
    panels = []

    def draw(given, colours):
        panels.extend(given)
        assert {line.label for panel in given for line in panel.lines if line.kind != "ours"} <= colours.keys()
        return {"png": b"png", "svg": b"<svg/>"}

    monkeypatch.setattr(charts, "draw", draw)
    return panels


def test_the_page_comes_from_the_table_alone(tmp_path, drawn):
    writer = Table(Row, tmp_path / CSV, ["psnr", "ms_ssim", "lpips_alex", "lpips_squeeze"])
    for row in ROWS:
        writer.add(row)
    written = report(read(Row, tmp_path / CSV), tmp_path / "out")
    names = {str(path.relative_to(tmp_path / "out")) for path in written}
    metrics = ("psnr", "lpips_alex", "lpips_squeeze")
    charts = [f"rate-{name}" for name in metrics] + ["plane-lpips_alex", "plane-lpips_squeeze", "time-lpips_alex"]
    wanted = {f"results/{name}.{kind}" for name in charts for kind in ("png", "svg")}
    assert names == wanted | {"RESULTS.md", "results.html"}
    assert all(path.is_file() for path in written)
    page, whole = ((tmp_path / "out" / name).read_text() for name in ("RESULTS.md", "results.html"))
    for word in (
        "Results on 3 pictures",
        "BD-rate",
        "-10.0 %",
        "36 rows",
        "48 rows",
        "a processor, 2 cores",
        FINGERPRINT,
    ):
        assert (word in page) == (word in whole) == (word != "36 rows")
    assert "MS-SSIM" not in page
    assert "What failed" not in page
    assert "(results/rate-psnr.svg)" in page
    assert "trained on it" in page


def test_the_times_and_the_crops_are_on_the_page(tmp_path, drawn):
    timings = [
        replace(one, version="1.0", options=options)
        for one, options in ((WEBP, "fixed"), (replace(WEBP, codec="JPEG"), "fixed"), (OURS, ""))
    ]
    attachments = Attachments(timings, ContactSheet(b"pixels", "By rule."))
    report(baseline("AVIF") + ROWS, tmp_path, attachments=attachments)
    page, whole = ((tmp_path / name).read_text() for name in ("RESULTS.md", "results.html"))
    assert (tmp_path / "results" / "crops.webp").read_bytes() == b"pixels"
    assert "(results/crops.webp)" in page
    assert "data:image/webp;base64," in whole
    for word in ("By rule.", "Picture by picture against AVIF", "largest gain on", "Failures", "smallest gain"):
        assert word in page
    for word in ("## Time", "0.1 (1 x)", "0.4 (4 x)", "0.3 (75 %)", "those to quote are under Time", "WebP"):
        assert word in page


def test_without_a_pair_or_times_the_page_says_so_or_nothing(tmp_path, drawn):
    report(ROWS, tmp_path, attachments=Attachments(contact_sheet=ContactSheet(None, "There is no sheet.")))
    page = (tmp_path / "RESULTS.md").read_text()
    assert "The table has no rows of AVIF." in page
    assert "## Time" not in page
    assert "crops.webp" not in page
    report(
        baseline("AVIF") + ROWS,
        tmp_path,
        attachments=Attachments(contact_sheet=ContactSheet(None, "Of other weights.")),
    )
    assert "Of other weights." in (tmp_path / "RESULTS.md").read_text()


def test_what_others_published_is_drawn_as_theirs(tmp_path, drawn):
    (tmp_path / "kodak_published.csv").write_text(PUBLISHED)
    report(ROWS, tmp_path / "out", reference=tmp_path)
    published = {line.label for panel in drawn for line in panel.lines if line.kind == "published"}
    assert published == {"HiFiC (published, trained on LPIPS-AlexNet)"}
    page = (tmp_path / "out" / "RESULTS.md").read_text()
    assert "“published”" in page
    assert "HiFiC" not in page


def test_failures_are_listed_and_many_are_counted(tmp_path, drawn):
    rows = [replace(row, metrics={}, error="it <broke>") for row in baseline("bad") + baseline("worse")] + ROWS
    report(rows, tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.count(r"it \<broke\>") == 20
    assert "And 4 more" in page


def test_one_picture_one_codec_and_no_perceptual_metric_is_a_page(tmp_path, drawn):
    rows = [replace(row, metrics={"psnr": 30.0}) for row in baseline() if row.image == IMAGES[0]]
    report(rows, tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "# Results on one picture" in page
    assert "no plane" in page


def test_nothing_to_report_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="nothing to report"):
        report([replace(ROWS[0], error="it broke")], tmp_path)


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path, drawn):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        report(ROWS, tmp_path / "file")
