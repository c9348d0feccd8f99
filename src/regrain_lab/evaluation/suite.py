"""The suite of an evaluation, before it is built and after: which codecs are measured, and by which metrics."""

import os
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from pathlib import Path
from typing import NamedTuple, Protocol

import regrain
from regrain.errors import UsageError
from regrain_lab.evaluation import baselines
from regrain_lab.evaluation.codecs import AS_STORED, REGRAIN, BenchmarkCodec, DecodeSetting, regrain_codec
from regrain_lab.metrics.registry import Metric, load_metrics

__all__ = ["CodecSource", "Selection", "Suite", "SuiteSource", "SuiteSpec", "select"]


class Suite(NamedTuple):
    """Everything that an evaluation measures: codecs, and metrics by column."""

    codecs: Sequence[BenchmarkCodec]
    metrics: Mapping[str, Metric]


SuiteSource = Callable[[], Suite]
"""Builds a suite; a value, so that it can be sent to another process, which then builds its own."""


class CodecSource(Hashable, Protocol):
    """Builds one codec alone; a value, so that another process, which builds its own, knows an equal one again."""

    def single(
        self, name: str, setting: float, decode_settings: Sequence[DecodeSetting] = (AS_STORED,)
    ) -> BenchmarkCodec:
        """Build the codec at one setting, with these ways to decode its files."""


class Selection(NamedTuple):
    """The encoders that were named and can run here, whether regrain was named, and a line for each that cannot run."""

    codecs: list[BenchmarkCodec]
    regrain: bool
    notes: list[str]


@dataclass(frozen=True)
class SuiteSpec:
    """A suite as names and numbers only.

    `codecs` are names as `select` reads them. `qualities` in [0, 100], `realisms` and `steps` are regrain's, whose seed
    is 0. `weights` are files of metrics, `model` is regrain's (None: the package's). `threads` are those of networks;
    None leaves the choice to their runtime.
    """

    codecs: tuple[str, ...]
    qualities: tuple[float, ...]
    realisms: tuple[float, ...] = (1.0,)
    steps: tuple[int, ...] = (1,)
    weights: tuple[str, ...] = ()
    model: str | None = None
    device: str | None = None
    threads: int | None = None

    def __call__(self) -> Suite:
        """Build all codecs and metrics. Raises ModelError, and UsageError for an unknown codec."""
        self._limit_threads()
        selection = select(self.codecs)
        settings = [DecodeSetting(0, steps, realism) for steps in self.steps for realism in self.realisms]
        regrains = [self._regrain(self.qualities, settings)] if selection.regrain else []
        return Suite([*regrains, *selection.codecs], load_metrics(self.weights))

    def single(
        self, name: str, setting: float, decode_settings: Sequence[DecodeSetting] = (AS_STORED,)
    ) -> BenchmarkCodec:
        """Build one codec at one setting, and load nothing else; `decode_settings` are regrain's. Raises as a call."""
        self._limit_threads()
        if name == REGRAIN:
            return self._regrain([setting], decode_settings)
        selection = select([f"{name}={setting:g}"])
        if selection.notes:
            raise UsageError(selection.notes[0])
        return selection.codecs[0]

    def _regrain(self, qualities: Sequence[float], decode_settings: Sequence[DecodeSetting]) -> BenchmarkCodec:
        model = regrain.load(self.model, self.device)
        path = None if self.model is None else Path(self.model)
        return regrain_codec(model, qualities, decode_settings, path if path and path.is_file() else None)

    def _limit_threads(self) -> None:
        """Limit the threads of networks, by the environment in workers alone: others would inherit it from here."""
        if self.threads is None:
            return
        if parent_process() is not None:
            os.environ["OMP_NUM_THREADS"] = str(self.threads)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.threads)


def select(names: Sequence[str]) -> Selection:
    """Select codecs by names, which are read without regard to case and may bring settings: `JPEG=10,50,90`.

    No name at all selects every codec at its own settings. Raises UsageError for a name that is unknown and a setting
    that is not allowed.
    """
    encoders = {codec.name.casefold(): codec for codec in baselines.ALL}
    requests = dict(_split_request(name) for name in names) or dict.fromkeys([*encoders, REGRAIN], "")
    for name in requests:
        if name not in encoders and name != REGRAIN:
            allowed = ", ".join([REGRAIN, *(codec.name for codec in encoders.values())])
            raise UsageError(f"codec is {name!r}; allowed are {allowed}")
    if requests.get(REGRAIN):
        raise UsageError(f"codec is {REGRAIN}={requests[REGRAIN]}; its settings are named by --qualities")
    named = {name: codec for name, codec in encoders.items() if name in requests}
    selected = [replace(codec, settings=_settings(codec, requests[name])) for name, codec in named.items()]
    installed, notes = baselines.available(selected)
    return Selection(installed, REGRAIN in requests, notes)


def _split_request(text: str) -> tuple[str, str]:
    name, _, settings = text.partition("=")
    return name.strip().casefold(), settings.strip()


def _settings(codec: BenchmarkCodec, text: str) -> Sequence[float]:
    """The settings that `text` lists, else those of the codec, smallest files first."""
    if not text:
        return codec.settings
    try:
        return sorted({int(number) for number in text.split(",")}, key=codec.qualities.index)
    except ValueError:
        ends = f"{min(codec.qualities)} to {max(codec.qualities)}"
        raise UsageError(f"settings of {codec.name} are {text!r}; allowed are whole numbers from {ends}") from None
