"""A configuration survives its file, and none is made that no network may be built of."""

import pytest

from conditional.tiny import SMALL
from regrain.conditional.config import ModelConfig
from regrain.errors import UsageError


def test_config_survives_json():
    assert ModelConfig.from_dict(SMALL.to_dict()) == SMALL


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"prediction": "x1"}, "prediction"),
        ({"schedule": "linea"}, "linea"),
        ({"guided": True}, "guided"),
        ({"sampler": 1}, "sampler"),
        ({"transform": {"anchors": 1}}, "anchors"),
        ({"transform": {"latent": 769}}, "latent"),
        ({"transform": {"slices": [6, 2]}}, "slices"),
        ({"denoiser": {"widths": [8, 8]}}, "widths"),
    ],
)
def test_what_no_network_is_built_of_is_refused(change, word):
    with pytest.raises(UsageError, match=word) as refusal:
        ModelConfig.from_dict({**SMALL.to_dict(), **change})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("config", [None, [], "x0", {"transform": None}])
def test_what_is_no_table_is_refused(config):
    with pytest.raises(UsageError, match="expected a table"):
        ModelConfig.from_dict(config)


def test_an_unknown_prediction_is_refused():
    with pytest.raises(UsageError, match="prediction"):
        ModelConfig(prediction="x1")
