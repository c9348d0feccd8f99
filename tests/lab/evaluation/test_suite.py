"""The suite: codecs by name and settings, and one codec alone without the others."""

import types
from dataclasses import replace

import pytest

import regrain
from regrain.bitstream import Method
from regrain.errors import UsageError
from regrain_lab.evaluation import baselines
from regrain_lab.evaluation.codecs import REGRAIN, DecodeSetting
from regrain_lab.evaluation.suite import SuiteSpec, select


def test_no_name_selects_every_codec():
    selection = select([])
    assert selection.regrain
    assert len(selection.codecs) + len(selection.notes) == len(baselines.ALL)
    assert {"JPEG", "WebP"} <= {codec.name for codec in selection.codecs}


def test_names_are_read_without_regard_to_case_and_bring_their_settings():
    selection = select(["webp", "JPEG=90, 10,10"])
    settings = [(codec.name, list(codec.settings)) for codec in selection.codecs]
    assert settings == [("JPEG", [10, 90]), ("WebP", list(baselines.WEBP.settings))]
    assert not selection.regrain
    assert selection.notes == []
    assert select([REGRAIN.upper()]).regrain


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("JPG", "codec is 'jpg'; allowed are regrain, JPEG, "),
        ("JPEG=ten", "settings of JPEG are 'ten'; allowed are whole numbers from 1 to 100"),
        ("JPEG=0", "settings of JPEG are '0'"),
        ("regrain=50", "named by --qualities"),
    ],
)
def test_other_names_and_settings_are_refused(name, message):
    with pytest.raises(UsageError, match=message):
        select([name])


@pytest.fixture
def loads(monkeypatch):
    """The weights that are asked for; nothing is loaded."""
    calls = []
    about = {"fingerprint": b"\1\2\3\4", "method": Method.CONDITIONAL}
    weights = types.SimpleNamespace(**about, device="onnx", recipe="default")
    monkeypatch.setattr(regrain, "load", lambda path, device: calls.append(path) or weights)
    return calls


def test_a_suite_has_regrain_first_in_every_way_to_decode(loads):
    suite = SuiteSpec(("JPEG", "regrain"), (20.0, 60.0), realisms=(0.0, 1.0), steps=(1, 4))()
    assert [codec.name for codec in suite.codecs] == ["regrain", "JPEG"]
    assert list(suite.codecs[0].decode_settings) == [
        DecodeSetting(0, steps, realism) for steps in (1, 4) for realism in (0.0, 1.0)
    ]
    assert "psnr" in suite.metrics


def test_a_single_codec_is_built_without_the_others(monkeypatch, loads):
    spec = SuiteSpec(("JPEG", "regrain"), (20.0, 60.0), model="some")
    codec = spec.single("JPEG", 10.0)
    assert (codec.name, list(codec.settings), loads) == ("JPEG", [10], [])
    setting = DecodeSetting(0, 4, 0.5)
    codec = spec.single(REGRAIN, 60.0, [setting])
    assert (list(codec.settings), list(codec.decode_settings), loads) == ([60.0], [setting], ["some"])
    absent = replace(baselines.JPEG, version=str)
    monkeypatch.setattr(baselines, "ALL", (absent,))
    with pytest.raises(UsageError, match="JPEG skipped: it needs"):
        spec.single("JPEG", 10.0)
