"""What others measured: read as theirs, marked as theirs, and for Kodak's photos alone."""

import pytest

from regrain.errors import UsageError
from regrain_lab.evaluation.published import measured_rows, published_points

PUBLISHED = """system,steps,bpp,psnr_db,ms_ssim,lpips_alex,dists,source
HiFiC,,0.149,27.3,0.929,0.093,0.104,a table
PerCo (SD),20,0.126,22.8,,0.143,0.080,a table
"""
FULLER = """system,trained_on_lpips,dataset,bpp,psnr_db,ms_ssim,lpips_alex,dists,source
MS-ILLM,alex,kodak,0.15317,27.53348,0.92823,0.07318,0.08091,its repository
Other,,kodak,0.10945,27.44512,,0.09632,0.10403,another
"""
MEASURED = """codec,setting,image,bytes,bpp,psnr,ms_ssim,lpips_alex,lpips_squeeze
vvenc medium 4:2:0,47,kodim01.png,3903,0.07941,24.04127,0.8593,0.47703,0.37804
vvenc medium 4:2:0,47,kodim02.png,1033,0.02102,28.25446,0.84278,0.49225,
webp method 6,10,kodim01.png,12000,0.244,27.0,0.9,0.3,0.3
"""
KODAK = {f"kodim{number:02}.png": 768 * 512 for number in range(1, 25)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kodak_published.csv").write_text(PUBLISHED)
    (tmp_path / "kodak_measured.csv").write_text(MEASURED)
    return tmp_path


def test_points_are_marked_and_keep_their_source(folder):
    found, note = published_points(folder, KODAK)
    assert [point.label for point in found] == [
        "HiFiC (published, trained on LPIPS-AlexNet)",
        "PerCo (SD), steps 20 (published)",
    ]
    assert found[0].metrics == {"psnr": 27.3, "ms_ssim": 0.929, "lpips_alex": 0.093, "dists": 0.104}
    assert found[1].metrics.keys() == {"psnr", "lpips_alex", "dists"}
    assert found[0].source == "a table"
    assert "all 24 Kodak photos" in note
    assert "its LPIPS was in the system's loss" in note
    assert "other pictures" not in note


def test_a_system_in_both_tables_is_taken_from_the_fuller_one(folder):
    (folder / "perceptual_points.csv").write_text(FULLER)
    with (folder / "kodak_published.csv").open("a") as table:
        table.write("MS-ILLM,,0.154,27.5,0.928,0.073,0.081,a table\n")
    found = {point.label: point for point in published_points(folder, KODAK)[0]}
    assert list(found)[:2] == ["MS-ILLM (published, trained on LPIPS-AlexNet)", "Other (published)"]
    assert len(found) == 4
    assert found["MS-ILLM (published, trained on LPIPS-AlexNet)"].metrics["dists"] == 0.08091
    assert "ms_ssim" not in found["Other (published)"].metrics


@pytest.mark.parametrize("images", [dict(list(KODAK.items())[:3]), {**KODAK, "mine.png": 9}])
def test_means_over_other_pictures_are_said_to_be(folder, images):
    assert f"{len(images)} in all" in published_points(folder, images)[1]


@pytest.mark.parametrize("images", [{"mine.png": 768 * 512}, {"kodim01.png": 256 * 192}])
def test_for_other_pictures_and_for_crops_there_are_none(folder, images):
    found, note = published_points(folder, images)
    assert found == []
    assert "left out" in note
    assert measured_rows(folder, images) == []


def test_rows_of_a_codec_from_no_package_are_taken_for_our_pictures(folder):
    (row,) = measured_rows(folder, {"kodim01.png": 768 * 512})
    assert (row.codec, row.version, row.options) == ("VVC (measured elsewhere)", "vvenc", "medium 4:2:0")
    assert (row.bytes, row.setting, row.machine) == (3903, "47", "")
    assert row.metrics["psnr"] == 24.04127
    assert "lpips_squeeze" not in measured_rows(folder, {"kodim02.png": 768 * 512})[0].metrics


def test_a_folder_without_tables_has_nothing(tmp_path):
    assert published_points(tmp_path, KODAK)[0] == []
    assert measured_rows(tmp_path, KODAK) == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", PUBLISHED.replace("27.3", "many")])
def test_another_table_is_refused(tmp_path, text):
    (tmp_path / "kodak_published.csv").write_text(text + "x,y,z\n")
    with pytest.raises(UsageError, match="is no table of reference points"):
        published_points(tmp_path, KODAK)


def test_the_tables_that_lie_with_the_data_are_read(shared):
    folder = shared / "data" / "reference_rd"
    found = published_points(folder, KODAK)[0]
    assert len(found) == 48 + 25 - 3
    trained = {point.system for point in found if point.trained_on == "AlexNet"}
    assert trained == {"MS-ILLM", "No-GAN", "CRDR beta 3.84", "CRDR beta 0.0", "HiFiC"}
    rows = measured_rows(folder, KODAK)
    assert len(rows) == 24 * 6
    assert {row.image for row in rows} == set(KODAK)
