"""The table of times: kept on disk, ratios within one run, and the last row of a series counts."""

from dataclasses import replace

import pytest

from lab.evaluation.invented import JPEG, OURS, WEBP
from regrain.errors import OutputError, UsageError
from regrain_lab.evaluation import tables
from regrain_lab.evaluation.timings import against, latest, of, read, write


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "timings.csv"
    assert read(path) == []
    write([JPEG, WEBP, OURS], path)
    assert read(path) == [JPEG, WEBP, OURS]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", ","])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=r"t\.csv is no table of timings"):
        read(tmp_path / "t.csv")


def test_a_damaged_line_and_a_folder_are_refused(tmp_path):
    write([JPEG], tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().replace("0.05", "fast"))
    with pytest.raises(UsageError, match="fast"):
        read(tmp_path / "t.csv")
    with pytest.raises(OutputError):
        read(tmp_path)


def test_ratios_stay_in_their_run():
    slow = replace(WEBP, run=2, encode_s=0.2)
    later = replace(OURS, run=2, steps=4)
    every = [JPEG, WEBP, OURS, later, slow]
    assert against(OURS, every) is WEBP
    assert against(later, every) is slow
    assert against(JPEG, [JPEG, OURS]) is JPEG
    assert against(OURS, [OURS]) is None
    assert latest(every) == [JPEG, slow, OURS, later]
    lines = {line[0]: line for line in tables.times(latest(every), every).rows}
    assert lines["regrain steps 1"][3] == "0.4 (4 x)"
    assert lines["regrain steps 4"][3] == "0.4 (2 x)"
    assert lines["WebP"][3] == "0.2 (1 x)"
    assert lines["JPEG"][6] == ""


def test_time_depends_on_steps_and_weights_but_not_on_realism():
    other = OURS.series._replace(realism=0.5)
    assert of(other, [OURS]) is OURS
    assert of(other._replace(steps=4), [OURS]) is None
    assert of(other._replace(fingerprint="00"), [OURS]) is None


def test_stages_are_those_of_codecs_that_have_them():
    assert tables.stages([JPEG]) is None
    (line,) = tables.stages([JPEG, OURS]).rows
    assert line[1:] == ["0.3 (75 %)", "0.1 (25 %)", "0.1 (20 %)", "0.4 (80 %)"]
