"""A recipe (TOML) as frozen dataclasses: what was run, runnable.

Every table of the recipe is one dataclass below; an unknown name, a value of the wrong kind or one out of range is a
UsageError that says where it stands. `values` says how a recipe extends another file, and what paths are relative to.

A student learns by one of METHODS (`losses.distillation` and `losses.leaps` have their formulas). Progressive stages
halve the steps, N, N / 2, N / 4 ...; a guided stage follows training with condition dropout, and only progressive
stages follow it.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from regrain import configuration
from regrain.conditional.config import ModelConfig
from regrain.diffusion import schedule
from regrain.diffusion.prior import PriorConfig
from regrain.diffusion.unet_config import DenoiserConfig
from regrain.errors import UsageError
from regrain.palette.autoencoder import AutoencoderConfig
from regrain_lab.training import values
from regrain_lab.training.members import DataConfig

__all__ = ["METHODS", "TEACHER_RESETS", "DataConfig", "DistillConfig", "LossConfig", "Recipe", "Stage", "read_recipe"]


PIXELS_MAX: Final = 2**27
"""In one step, over all processes."""
TRAINABLE: Final = (
    "codec", "prior", "autoencoder", "latent-prior", "student", "prior-student", "sampler", "fast", "adapter",
)  # fmt: skip
STUDENTS: Final = ("student", "prior-student")
"""What `regrain distill` trains."""
GRAPHED: Final = ("codec", "student")
FAST: Final = DenoiserConfig(widths=(48, 80, 160), depths=(2, 2, 2), half=16, embedding=64)
"""The shape of a fast decoder, some 19,000 multiplications a pixel; that of a denoiser takes 64,000."""
METHODS: Final = ("none", "direct", "progressive", "consistency", "guided")
TEACHER_RESETS: Final = ("progressive", "guided", "path")
"""Methods whose stages begin with the student so far for the teacher."""


@dataclass(frozen=True)
class LossConfig:
    """(1 - perceptual_weight) L_diff + perceptual_weight LPIPS + rate_weight R, and how its weights are drawn."""

    perceptual_weight: float = 0.5
    """rho at realism 1; it is proportional to realism."""
    perceptual_scale: float = 8.0
    """LPIPS is multiplied by this to stand beside L_diff, the squared error on [0, 255] over 100."""
    structure_scale: float = 0.0
    """1 - MS-SSIM is multiplied by this and added to LPIPS; it needs crops of 192 pixels or more."""
    lpips: str = ""
    vgg: str = ""
    vgg_heads: str = ""
    """Paths of LPIPS, and for a sampler of VGG16's convolutions and LPIPS' heads for them; empty trains without."""
    vgg_scale: float = 8.0
    texture_scale: float = 1.0
    means_scale: float = 0.0
    bands_scale: float = 0.0
    edge_scale: float = 0.0
    adversary_scale: float = 0.0
    drift_scale: float = 0.0
    spectrum_scale: float = 0.0
    """For a sampler these multiply LPIPS of VGG16, the Wasserstein distance of its features, that of their means, that
    of a DCT's bands, squared errors on strong edges, the loss by a discriminator, and what drifts with it."""
    rate_weight: tuple[float, float] = (12.5, 0.1)
    """lambda at quality 0 and at quality 100, log-linear between."""
    balance: float = 0.5
    """Each picture's loss is divided by its rate weight to this power, so that no quality drowns the others."""
    tone_weight: float = 0.0
    """Weight, beside the squared error's own, of its part in means over 16 x 16 pixels: LPIPS hardly sees a cast."""
    lattice_weight: float = 0.0
    """Weight, likewise, of its mean over all squares of 16 x 16: a pattern locked to the grid, which LPIPS likes."""
    simple_weight: float = 0.1
    """For a prior: weight of the simple loss, the prediction's squared error, beside the bound in bits a value."""
    schedule: str = "log-linear"
    """For a prior: times are even in it. "log-linear" trains on the bound and the simple loss, others on the latter."""
    vlb_weight: float = 0.001
    """For a prior with learned variance: weight of the bound that trains it. With Muon 1 suits better than 0.001."""
    min_snr_gamma: float = 5.0
    min_weight: float = 0.2
    """Floor of the min-SNR weight of L_diff (over gamma); at t = 1 the weight is 1."""

    def __post_init__(self) -> None:
        """Refuse, with UsageError, a schedule that does not exist."""
        schedule.get(self.schedule)


@dataclass(frozen=True)
class Stage:
    """A run of steps under one set of rules. Pairs are (at its first step, at its last), linear between."""

    name: str
    steps: int
    batch: int = 8
    """Pictures a step, over all processes."""
    crop: int = 128
    """Side of the crops in pixels, a multiple of 32."""
    learning_rate: tuple[float, float] = (3e-4, 3e-4)
    rate: tuple[float, float] = (1.0, 1.0)
    """Multiplies rate_weight: near zero at first, or the rate crushes the latents before they carry anything."""
    perceptual: tuple[float, float] = (1.0, 1.0)
    """Multiplies perceptual_weight; the product is at most 1."""
    structure: tuple[float, float] = (1.0, 1.0)
    """Multiplies structure_scale."""
    texture: tuple[float, float] = (1.0, 1.0)
    """Multiplies vgg_scale, texture_scale and bands_scale; at 0 VGG16 does not run."""
    continuous: float = 0.0
    """Share of the pictures whose t is uniform in [0, 1]; the others are at t = 1."""
    freeze_latents: bool = False
    """Train the denoiser alone, on the averaged latents as they are when the first such stage begins."""
    method: str = ""
    """How a student is taught, one of METHODS, or "path" for that of a prior; empty is [distill]'s."""
    sampling_steps: int = 1
    """N, a power of 2. Progressive: the student's steps, two of the teacher's each. Direct, and of a sampler: some
    pictures stand where k of 2, 4 ... or N steps of the network's own have led them."""
    gap: tuple[float, float] = (1.0, 1.0)
    """For consistency: the part of t from t down to s where noise is strong; at 1 the target is x."""


@dataclass(frozen=True)
class DistillConfig:
    """How a student is taught, and by which teacher."""

    teacher: str = ""
    """Path of a weights file, whose latents stay as they are; empty is the package's."""
    method: str = "direct"
    """The method of stages that name none."""
    perceptual_target: str = "target"
    """What LPIPS and MS-SSIM compare the student's x_hat with: the method's "target", or always the "picture"."""
    dropout: float = 0.0
    """Share of the pictures whose latents are hidden, all zero, under the method "none": what guidance needs."""
    guidance_max: float = 0.0
    """The student takes a guidance weight w, drawn evenly from 0 to this. At 0 it takes none."""
    guidance: float = 0.0
    """The w that ships."""

    def __post_init__(self) -> None:
        """Refuse, with UsageError, unknown names and a weight that was not trained."""
        _check_choice("method", self.method, (*METHODS, "path"))
        _check_choice("perceptual_target", self.perceptual_target, ("target", "picture"))
        if self.guidance > self.guidance_max:
            raise UsageError(f"guidance is {self.guidance:g}; 0 to guidance_max, {self.guidance_max:g}, is allowed")


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str
    data: DataConfig
    stage: tuple[Stage, ...]
    loss: LossConfig = field(default_factory=LossConfig)
    trains: str = "codec"
    """What the recipe trains: "codec", whose networks [model] shapes; "prior", which [prior] shapes; the palette
    codec's "autoencoder", which [autoencoder] shapes, and "latent-prior", again of [prior], over its latents; a
    "student" or a "sampler", which [distill] starts from a weights file, and so, from a prior's, a "prior-student"; a
    "fast" decoder, which [fast] shapes, behind the latents of the teacher of [distill]; an "adapter" of the codec of
    `start`."""
    model: ModelConfig = field(default_factory=ModelConfig)
    fast: DenoiserConfig = field(default_factory=lambda: FAST)
    prior: PriorConfig = field(default_factory=PriorConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    start: str = ""
    """For a codec: the path of weights that ship, whose training goes on in the first step; empty starts untrained. For
    an adapter: of the weights that it adds to; empty is the package's."""
    patience: int = 0
    """Validations without a gain of the held-out loss after which a run ends, with the weights of the best one; 0 takes
    all steps."""
    rank: int = 2
    """Of an adapter's additions."""
    latents: str = ""
    """For a latent prior: the path of the autoencoder's weights, as its own recipe leaves them."""
    seed: int = 0
    out: str = "../runs"
    ema: float = 0.999
    clip: float = 1.0
    precision: str = "auto"
    """The networks run forward in "float32", "bfloat16", or "auto": bfloat16 on a GPU or a CPU with units for it."""
    graph: bool = False
    """Replay the forward and backward pass of a codec or a student as a CUDA graph, on one GPU (see `graph`)."""
    warmup: int = 100
    """Steps over which the learning rate rises from zero."""
    checkpoint_every: int = 200
    validate_every: int = 400
    report_every: int = 50
    """Steps from one line with the loss to the next, where there is no terminal to draw a bar on."""
    folder: Path = Path()
    """The folder of the recipe; set on reading."""

    def path(self, relative: str) -> Path:
        """A path of the recipe, resolved against its folder."""
        return (self.folder / relative).resolve()

    @property
    def teacher(self) -> Path | None:
        """The weights file whose latents a student, a sampler or a fast decoder keeps; None is the package's."""
        return self.path(self.distill.teacher) if self.distill.teacher else None

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stage)


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises UsageError naming its file, all files it extends, and the first thing wrong."""
    tables, where = values.tables(path)
    recipe = replace(configuration.read(Recipe, tables, where, values.RANGES), folder=path.resolve().parent)
    if recipe.trains in STUDENTS:
        stages = (replace(stage, method=stage.method or recipe.distill.method) for stage in recipe.stage)
        recipe = replace(recipe, stage=tuple(stages))
    try:
        _check(recipe)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return recipe


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")


def _refuse(*problems: tuple[bool, str], where: str = "") -> None:
    for exists, message in problems:
        if exists:
            raise UsageError(where + message)


def _check(recipe: Recipe) -> None:
    name, trains, methods = recipe.name, recipe.trains, {stage.method for stage in recipe.stage}
    _check_choice("precision", recipe.precision, ("auto", "float32", "bfloat16"))
    _check_choice("trains", trains, TRAINABLE)
    distills = recipe.distill != DistillConfig() or any(methods)
    _refuse(
        (bool(recipe.start) and trains not in ("codec", "adapter"),
         f"start is {recipe.start!r}; only recipes that train a codec or an adapter go on from weights"),
        (recipe.graph and trains not in GRAPHED,
         f"graph is true and trains {trains!r}; only {' or '.join(GRAPHED)} can be a CUDA graph"),
        (recipe.patience > 0 and not recipe.data.validates,
         f"patience is {recipe.patience}; it needs held-out pictures: name holdout or holdout_share"),
        (not recipe.stage, "a recipe needs at least one [[stage]]"),
        (name in ("", ".", "..") or bool(set(name) & set("/\\")) or len(name.encode()) > 200,
         f"name is {name!r}; the name of a folder is allowed, up to 200 bytes"),
        (trains == "prior" and recipe.prior.channels != 3,
         f"prior: channels is {recipe.prior.channels}; pictures have 3"),
        (distills and trains not in (*STUDENTS, "sampler", "fast"),
         '[distill] and a stage\'s method are of recipes with trains = "student" alone'),
        (trains == "prior-student" and methods not in ({"progressive"}, {"path"}),
         'the student of a prior learns by the method "progressive" or by "path", in all its stages'),
        ("path" in methods and trains != "prior-student", 'the method "path" is for the student of a prior alone'),
    )  # fmt: skip
    for stage in recipe.stage:
        _check_stage(recipe, stage)
    if trains in STUDENTS:
        _check_order(recipe.distill, recipe.stage)


def _check_stage(recipe: Recipe, stage: Stage) -> None:
    # A prior halves its pictures twice behind its patches; latents are at 1/8.
    unit = 4 * recipe.prior.patch * {"prior": 1, "latent-prior": 8}.get(recipe.trains, 0)
    crop, perceptual, steps = stage.crop, max(stage.perceptual), stage.sampling_steps
    if student := recipe.trains in STUDENTS:
        _check_choice("method", stage.method, (*METHODS, "path"))
    ramps = [name for name in ("rate", "perceptual", "structure") if len(set(getattr(stage, name))) > 1]
    _refuse(
        (bool(unit) and crop % unit > 0, f"crop is {crop}; with patch {recipe.prior.patch} a multiple of {unit} does"),
        (crop % 32 > 0, f"crop is {crop}; a multiple of 32 is allowed"),
        (bool(recipe.loss.lpips) and crop < 64, f"crop is {crop}; lpips needs 64 or more"),
        (stage.batch * crop**2 > PIXELS_MAX, f"{stage.batch} crops of {crop}; {PIXELS_MAX} pixels a step are allowed"),
        (bool(recipe.loss.structure_scale) and crop < 192, f"crop is {crop}; structure_scale needs 192 or more"),
        (perceptual * recipe.loss.perceptual_weight > 1,
         f"perceptual is {perceptual}; perceptual_weight times it must be <= 1"),
        (student and bool(steps & (steps - 1)), f"sampling_steps is {steps}; a power of 2 is allowed"),
        (student and stage.method == "guided" and not recipe.distill.guidance_max,
         "a guided stage needs guidance_max above 0"),
        (recipe.graph and bool(ramps), f"{', '.join(ramps)} may not change during a stage that is a CUDA graph"),
        where=f"stage {stage.name!r}: ",
    )  # fmt: skip


def _check_order(config: DistillConfig, stages: tuple[Stage, ...]) -> None:
    """Raise UsageError for stages of a student that may not follow one another."""
    if config.guidance_max and "guided" not in [stage.method for stage in stages]:
        raise UsageError('guidance_max needs a stage whose method is "guided"')
    for before, stage in pairwise(stages):
        half, steps, method = before.sampling_steps // 2, stage.sampling_steps, stage.method
        guided = before.method == "guided" or (config.guidance_max > 0 and before.method == "progressive")
        _refuse(
            (method == before.method == "progressive" and steps != half,
             f"sampling_steps is {steps} after {half * 2}; {half} is allowed"),
            (method == "guided" and (before.method != "none" or not config.dropout),
             'guidance needs a teacher with dropout: before it, "none" with dropout is allowed'),
            (guided and method != "progressive", f"method is {method!r} after guidance; progressive is allowed"),
            where=f"stage {stage.name!r}: ",
        )  # fmt: skip
