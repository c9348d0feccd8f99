"""The table of a run: rows after the checkpoint go, those before it stay, and another's table is left alone."""

import pytest

from regrain_lab.training.journal import CSV, Journal


@pytest.fixture
def go_on(tmp_path):
    """Note steps with this name after a checkpoint; the lines of the table then."""

    def note(after, *steps, name="loss"):
        journal = Journal(tmp_path, after)
        for step in steps:
            journal.note(step, {name: step / 8})
        journal.close()
        return (tmp_path / CSV).read_text().splitlines()

    return note


def test_rows_are_appended_and_purged_past_the_checkpoint(go_on, tmp_path):
    assert go_on(0, 1, 2, 3) == ["step,loss", "1,0.125", "2,0.25", "3,0.375"]
    with (tmp_path / CSV).open("a") as file:
        file.write("4\n5,junk\n\nx,1\n" + "9" * 5000 + ",1\n\0\0")
    assert go_on(2, 3) == ["step,loss", "1,0.125", "2,0.25", "3,0.375"]
    assert go_on(3, name="bits") == ["step,loss", "1,0.125", "2,0.25", "3,0.375"]
    assert go_on(1, 2, name="bits") == ["step,bits", "1,", "2,0.25"]
    assert {path.name for path in tmp_path.iterdir()} == {CSV, "log"}


def test_a_table_of_somebody_else_stays(go_on, tmp_path, caplog):
    (tmp_path / CSV).write_text("date,weight\n1,2\n")
    assert go_on(0, 1, 2) == ["date,weight", "1,2"]
    assert ["figures cannot be noted: a table that is not a run's" in message for message in caplog.messages] == [True]


def test_what_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / CSV).mkdir()
    journal = Journal(tmp_path, 0)
    for step in (1, 2):
        journal.note(step, {"loss": 1.0})
    journal.close()
    assert len(caplog.messages) == 1


def test_a_stage_with_more_scalars_adds_columns(tmp_path):
    journal = Journal(tmp_path, 0)
    journal.note(1, {"loss": 1.0})
    journal.note(2, {"loss": 2.0, "texture": 3.0})
    journal.note(3, {"loss": 4.0})
    journal.close()
    assert (tmp_path / CSV).read_text().splitlines() == ["step,loss,texture", "1,1,", "2,2,3", "3,4,"]
