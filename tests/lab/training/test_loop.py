"""A run ends in the same bits whatever stopped it on the way, and leaves a good checkpoint whenever it stops."""

import csv
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import regrain
from lab.training.tiny import HEAD, STAGES, write_recipe
from regrain import torch_checkpoint
from regrain.errors import ModelError, OutputError, RegrainError, UsageError
from regrain_lab.training import loop
from regrain_lab.training.journal import CSV
from regrain_lab.training.loop import LAST, WEIGHTS, main
from regrain_lab.training.losses.codec import CodecLoss
from regrain_lab.training.recipe import Stage, read_recipe
from regrain_lab.training.stages import Position, learning_rate, position

STEPS = 8
LAST_STAGE = 'name = "denoiser"\nsteps = 3'
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}
posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


class Killed(BaseException):
    """Stands for a kill that no code of ours can catch."""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, shards) -> Path:
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "shards").symlink_to(shards, target_is_directory=True)
    return main(write_recipe(folder))


def same(first: Path, second: Path) -> bool:
    ours, theirs = load_file(first), load_file(second)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's CSV."""
    with (folder / CSV).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def kill_before(monkeypatch, step):
    """Stop dead in the middle of `step`."""
    forward = CodecLoss.forward
    count = [0]

    def dying(self, x, rules):
        if count[0] == step:
            raise Killed
        count[0] += 1
        return forward(self, x, rules)

    monkeypatch.setattr(CodecLoss, "forward", dying)


def poison(monkeypatch, *steps):
    """Make the loss of these steps NaN."""
    forward = CodecLoss.forward
    count = [-1]

    def poisoned(self, x, rules):
        count[0] += 1
        scalars = forward(self, x, rules)
        return scalars | {"loss": scalars["loss"] * float("nan")} if count[0] in steps else scalars

    monkeypatch.setattr(CodecLoss, "forward", poisoned)


def test_a_run_leaves_checkpoint_weights_and_log(unbroken):
    assert {entry.name for entry in unbroken.iterdir()} == {LAST, WEIGHTS, CSV, "log"}
    assert unbroken.name == "tiny"
    assert torch_checkpoint.load_metadata(unbroken / LAST)["step"] == STEPS
    about = torch_checkpoint.load_metadata(unbroken / WEIGHTS)
    model = regrain.load(unbroken / WEIGHTS)
    assert about["recipe"] == "tiny"
    assert about["step"] == STEPS
    assert about["latent_fingerprint"] == model.fingerprint.hex()
    log = EventAccumulator(str(unbroken / "log")).Reload()
    assert [event.step for event in log.Scalars("train/loss")] == list(range(1, STEPS + 1))
    assert [event.step for event in log.Scalars("holdout/bpp/q50")] == [4, 8]
    names = {"loss", "bpp", "mse", "lpips", "gradient", "learning_rate", "seconds"}
    assert {tag for tag in log.Tags()["scalars"] if tag.startswith("train")} == {f"train/{name}" for name in names}


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_killed_run_goes_on_to_the_same_bits(recipe, unbroken, monkeypatch, step):
    """Kills before the first checkpoint, at a border, and in the frozen stage; every second step is a checkpoint."""
    with monkeypatch.context() as patch:
        kill_before(patch, step)
        with pytest.raises(Killed):
            main(recipe)
    out = recipe.parent / "runs" / "tiny"
    if step > 1:
        assert torch_checkpoint.load_metadata(out / LAST)["step"] == step // 2 * 2
    assert main(recipe) == out
    assert same(out / LAST, unbroken / LAST)
    assert same(out / WEIGHTS, unbroken / WEIGHTS)
    log = EventAccumulator(str(out / "log")).Reload()
    assert [event.step for event in log.Scalars("train/loss")] == list(range(1, STEPS + 1))
    ours, theirs = (table(folder) for folder in (out, unbroken))
    assert [row.pop("seconds") is not None and row for row in ours] == [row.pop("seconds") and row for row in theirs]


def test_a_finished_run_stays_as_it_is(recipe, unbroken):
    out = shutil.copytree(unbroken, recipe.parent / "elsewhere")
    (out / WEIGHTS).unlink()
    assert main(recipe, out=out) == out
    assert (out / LAST).read_bytes() == (unbroken / LAST).read_bytes()
    assert same(out / WEIGHTS, unbroken / WEIGHTS)


def test_the_latents_that_ship_are_frozen_with_the_stage(recipe, unbroken):
    """What the denoiser's stage begins with is what it ends with: files of one open with the other's weights."""
    shorter = HEAD + STAGES.replace(LAST_STAGE, LAST_STAGE.replace("3", "1"))
    first, last = (load_file(folder / WEIGHTS) for folder in (main(write_recipe(recipe.parent, shorter)), unbroken))
    kept = {name for name in first if torch.equal(first[name], last[name])}
    assert {name for name in first if not name.startswith("denoiser.")} <= kept
    assert "denoiser.leave.weight" not in kept


def at_step(patch, number, act):
    """Call `act` in the forward pass of the step of this number, the first being 1."""
    forward = CodecLoss.forward
    steps = []

    def acting(self, x, rules):
        steps.append(x)
        if len(steps) == number:
            act()
        return forward(self, x, rules)

    patch.setattr(CodecLoss, "forward", acting)


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_being_asked_to_stop_finishes_the_step_and_writes_it_down(recipe, unbroken, monkeypatch, caplog, name):
    """Once all is written the signal does what it would have done; then the run goes on to the same bits."""
    caplog.set_level(logging.INFO)
    number, out = getattr(signal, name), recipe.parent / "runs" / "tiny"
    steps = []
    before = signal.getsignal(number)
    if number != signal.SIGINT:
        signal.signal(number, lambda *_: steps.append(torch_checkpoint.load_metadata(out / LAST)["step"]))
    try:
        with monkeypatch.context() as patch:
            at_step(patch, 5, lambda: os.kill(os.getpid(), number))
            with pytest.raises(KeyboardInterrupt):
                main(recipe)
    finally:
        signal.signal(number, before)
    assert steps == ([] if number == signal.SIGINT else [5])
    assert torch_checkpoint.load_metadata(out / LAST)["step"] == 5
    assert [row["step"] for row in table(out)] == ["1", "2", "3", "4", "5"]
    assert "interrupted at step 5" in caplog.text
    if number == signal.SIGTERM:
        main(recipe)
        assert same(out / LAST, unbroken / LAST)


def test_an_error_between_two_steps_costs_none(recipe, unbroken, monkeypatch):
    """Whatever it is: what was trained since the last checkpoint, at step 4, is written down."""

    def fail():
        raise RuntimeError("out of luck")

    out = recipe.parent / "runs" / "tiny"
    with monkeypatch.context() as patch:
        at_step(patch, 6, fail)
        with pytest.raises(RuntimeError, match="out of luck"):
            main(recipe)
    assert torch_checkpoint.load_metadata(out / LAST)["step"] == 5
    main(recipe)
    assert same(out / LAST, unbroken / LAST)


def test_a_step_that_is_half_taken_is_not_written_down(recipe, monkeypatch):
    take = loop.State.update

    def fail(self, rate):
        take(self, rate)
        if self.step == 3:
            raise RuntimeError("out of luck")

    monkeypatch.setattr(loop.State, "update", fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        main(recipe)
    assert torch_checkpoint.load_metadata(recipe.parent / "runs" / "tiny" / LAST)["step"] == 2


@pytest.mark.parametrize("failing", [{2, 4}, {2, 4, 6}])
def test_a_disk_that_is_full_for_a_while_stops_nothing(recipe, unbroken, monkeypatch, caplog, failing):
    save = loop.State.save

    def full(self, path):
        if self.step in failing:
            raise OutputError("No space left on device")
        save(self, path)

    monkeypatch.setattr(loop.State, "save", full)
    if len(failing) == loop.UNSAVED_IN_A_ROW:
        with pytest.raises(OutputError, match="No space"):
            main(recipe)
        return
    assert same(main(recipe) / LAST, unbroken / LAST)
    assert ["next checkpoint is tried again" in message for message in caplog.messages if "space" in message] == [
        True, True,
    ]  # fmt: skip


def test_lines_with_the_loss_where_there_is_no_terminal(recipe, caplog):
    caplog.set_level(logging.INFO)
    recipe.write_text("report_every = 3\n" + recipe.read_text())
    rows = table(main(recipe))
    said = [message for message in caplog.messages if "of 8: loss" in message]
    assert [message.split(":")[0] for message in said] == ["step 3 of 8", "step 6 of 8"]
    mean = sum(float(row["loss"]) for row in rows[3:6]) / 3
    assert f"loss {mean:.4g}  bpp " in said[1]


@pytest.mark.slow
@posix
def test_sigkill_at_any_moment(recipe, unbroken):
    """Killed where it happens to be while it does little but write checkpoints, a run still ends in the same bits."""
    recipe.write_text(recipe.read_text().replace("checkpoint_every = 2", "checkpoint_every = 1"))
    out = recipe.parent / "runs" / "tiny"
    command = [sys.executable, "-c", "from regrain.cli import main; main()", "train", str(recipe)]
    child = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not (out / LAST).exists() and child.poll() is None:
            time.sleep(0.01)
        time.sleep(float(torch.rand(())) * 0.2)
    finally:
        child.kill()
        child.wait()
    assert 1 <= torch_checkpoint.load_metadata(out / LAST)["step"] <= STEPS
    main(recipe)
    assert same(out / LAST, unbroken / LAST)
    assert not list(out.glob(".*"))


def test_a_loss_that_is_no_number_is_said_and_skipped(recipe, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    poison(monkeypatch, 2)
    out = main(recipe)
    said = [message.partition("  ")[0] for message in caplog.messages]
    rows = [f"quality {quality}" for quality in (0, 25, 50, 75, 100)]
    stages = [f"stage {name}: step 0 of {steps}" for name, steps in (("warm-up", 3), ("latents", 2), ("denoiser", 3))]
    assert said == [
        stages[0], "step 2: loss nan, gradient nan: skipped", stages[1], *(f"step 4: {row}" for row in rows), stages[2],
        *(f"step 8: {row}" for row in rows),
    ]  # fmt: skip
    assert torch_checkpoint.load_metadata(out / LAST)["step"] == STEPS
    assert all(tensor.isfinite().all() for tensor in load_file(out / LAST).values() if tensor.is_floating_point())


def test_a_loss_that_stays_no_number_stops_with_the_last_good_state(recipe, monkeypatch):
    recipe.write_text(recipe.read_text().replace(LAST_STAGE, LAST_STAGE.replace("3", "30")))
    poison(monkeypatch, *range(5, 99))
    with pytest.raises(RegrainError, match=r"not finite for 10 steps; .*last\.safetensors is the last good state"):
        main(recipe)
    tensors, metadata = torch_checkpoint.load(recipe.parent / "runs" / "tiny" / LAST)
    assert metadata["step"] == 4
    assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())


def test_a_run_without_held_out_pictures(recipe, caplog):
    caplog.set_level(logging.INFO)
    text = HEAD.replace('holdout = ["held/out"]', "holdout = []") + STAGES.partition('[[stage]]\nname = "latents"')[0]
    main(write_recipe(recipe.parent, text))
    assert "quality" not in caplog.text


def test_a_run_goes_on_from_weights_that_ship(recipe, unbroken):
    """Its first weights are theirs, but for the distributions of z; weights of another shape are refused."""
    head = HEAD.replace("seed = 3", f'seed = 3\nstart = "{unbroken / WEIGHTS}"')
    still = '[[stage]]\nname = "still"\nsteps = 1\nbatch = 2\ncrop = 64\nlearning_rate = [0, 0]\n'
    ours, theirs = (
        load_file(folder / WEIGHTS) for folder in (main(write_recipe(recipe.parent, head + still)), unbroken)
    )
    for name in theirs.keys() - {"latents.z_tables", "latents.log_gain"}:
        assert torch.equal(ours[name], theirs[name]), name
    gone = head.replace(str(unbroken), "nowhere")
    main(
        write_recipe(recipe.parent, gone + still.replace("steps = 1", "steps = 2"))
    )  # a run that resumes needs it no more
    with pytest.raises(ModelError, match="no weights there"):
        main(write_recipe(recipe.parent, gone.replace('name = "tiny"', 'name = "other"') + still))
    wider = head.replace('name = "tiny"', 'name = "wider"').replace("latent = 8", "latent = 12")
    with pytest.raises(ModelError, match=f"{WEIGHTS}: weights of another .model."):
        main(write_recipe(recipe.parent, wider + still))


def test_what_cannot_run_is_said_before_the_first_step(recipe):
    text = recipe.read_text()
    out = recipe.parent / "runs" / "tiny"
    recipe.write_text(text.replace("[data]", '[loss]\nlpips = "none.safetensors"\n[data]'))
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        main(recipe)
    recipe.write_text(text.replace('shards = "shards"', 'shards = "nowhere"'))
    with pytest.raises(UsageError, match="no training pictures in 0 shards"):
        main(recipe)
    recipe.write_text(text)
    with pytest.raises(OutputError, match="cannot be written"):
        main(recipe, out=recipe)
    out.mkdir(parents=True)
    (out / LAST).write_bytes(b"spoilt")
    with pytest.raises(ModelError, match="remove it to start again"):
        main(recipe)
    assert (out / LAST).read_bytes() == b"spoilt"


def test_processes_share_a_batch_evenly(recipe):
    with pytest.raises(UsageError, match="stage 'warm-up': batch is 2; 4 processes"):
        loop._check_machine(read_recipe(recipe), 4, torch.device("cpu"))


def test_positions_walk_through_the_stages(recipe):
    walk = [position(read_recipe(recipe), step) for step in range(STEPS + 2)]
    assert [where and (where.stage.name[0], where.step, where.sample) for where in walk] == [
        ("w", 0, 0), ("w", 1, 2), ("w", 2, 4), ("l", 0, 6), ("l", 1, 10), ("d", 0, 14), ("d", 1, 16), ("d", 2, 18),
        None, None,
    ]  # fmt: skip


def test_the_learning_rate_warms_up_and_falls(recipe):
    ours = read_recipe(recipe)
    stage = Stage("s", steps=100, learning_rate=(1.0, 0.5))
    rates = [learning_rate(ours, step, Position(stage, step, 0)) for step in range(100)]
    assert rates[0] == pytest.approx(0.5, abs=1e-3)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[50] == pytest.approx(0.75)
    assert 0.5 < rates[99] < 0.501


@pytest.mark.slow
@posix
def test_two_processes_train_one_model(recipe):
    """torchrun with gloo on the CPU: both ranks end in the same weights, and the first writes them down."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(Path(__file__).parent / "two_ranks.py"), str(recipe)]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as launched:
        try:
            out, complaints = launched.communicate(timeout=120)
        except BaseException:
            os.killpg(launched.pid, signal.SIGTERM)
            raise
    assert launched.returncode == 0, complaints
    prints = sorted(line for line in out.splitlines() if line.startswith("rank"))
    assert [line.split()[0] for line in prints] == ["rank0", "rank1"]
    assert len({line.split()[1] for line in prints}) == 1
    assert torch_checkpoint.load_metadata(recipe.parent / "runs" / "tiny" / LAST)["step"] == STEPS
