"""A recipe (TOML) as frozen dataclasses: what was run, runnable.

Every table of the recipe is one dataclass below; an unknown name, a value of the wrong kind or one out of range is a
UsageError that says where it stands. A recipe may extend another file (see `values`). Paths are relative to the folder
of the recipe that is read, also those that it takes from a file in another folder.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from regrain.conditional.model import ModelConfig
from regrain.diffusion import schedule
from regrain.diffusion.prior import PriorConfig
from regrain.errors import UsageError
from regrain.palette.autoencoder import AutoencoderConfig
from regrain_lab.training import methods, values
from regrain_lab.training.methods import DistillConfig

__all__ = ["DataConfig", "LossConfig", "Recipe", "Stage", "read_recipe"]

MS_SSIM_CROP: Final = 192
COLOURS: Final = 3
NAME_MAX: Final = 200
PIXELS_MAX: Final = 2**27
"""Of a step, over all processes."""
TRAINABLE: Final = ("codec", "prior", "autoencoder", "latent-prior", "student", "sampler")
PRECISIONS: Final = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class DataConfig:
    """Where the crops are and which of them train."""

    shards: str
    licence_classes: tuple[str, ...] = ()
    """Classes of index.csv to keep; empty keeps all."""
    exclude: tuple[str, ...] = ()
    """Repositories never used."""
    holdout: tuple[str, ...] = ()
    """Repositories kept for validation; empty trains without."""
    holdout_crops: int = 32
    workers: int = 0
    faded: float = 0.0
    """Share of the crops whose contrast is lowered at random, down to flat."""
    reduced: float = 0.0
    """Share of the crops taken from a wider window, as wide as the picture at most, and scaled down."""
    drawn: float = 0.0
    """Share of the samples that are drawings, not photos."""


@dataclass(frozen=True)
class LossConfig:
    """(1 - perceptual_weight) L_diff + perceptual_weight LPIPS + rate_weight R, and how its weights are drawn."""

    lpips: str = ""
    """Path of the LPIPS weights; empty trains without."""
    perceptual_weight: float = 0.5
    """rho at realism 1; it is proportional to realism."""
    perceptual_scale: float = 8.0
    """LPIPS is multiplied by this to stand beside L_diff, the squared error on [0, 255] over 100."""
    structure_scale: float = 0.0
    """1 - MS-SSIM is multiplied by this and added to LPIPS; it needs crops of 192 pixels or more."""
    vgg: str = ""
    """Of a sampler: path of VGG16's convolutions; empty trains without them."""
    vgg_heads: str = ""
    """Of a sampler: path of LPIPS' heads for VGG16."""
    vgg_scale: float = 8.0
    """LPIPS of VGG16 is multiplied by this."""
    texture_scale: float = 1.0
    """The Wasserstein distance on VGG16's features is multiplied by this."""
    adversary_scale: float = 0.0
    """What a discriminator on these features says is multiplied by this; 0 trains none."""
    rate_weight: tuple[float, float] = (12.5, 0.1)
    """lambda at quality 0 and at quality 100, log-linear between."""
    balance: float = 0.5
    """Each picture's loss is divided by its rate weight to this power, so that no quality drowns the others."""
    tone_weight: float = 0.0
    """Weight, beside the squared error's own, of its part in means over 16 x 16 pixels: LPIPS hardly sees a cast."""
    lattice_weight: float = 0.0
    """Weight, likewise, of its mean over all squares of 16 x 16: a pattern locked to the grid, which LPIPS likes."""
    simple_weight: float = 0.1
    """Of a prior: weight of the simple loss, the prediction's squared error, beside the bound in bits a value."""
    schedule: str = "log-linear"
    """Of a prior: times are even in it. "log-linear" has the bound and the simple loss, others the simple one alone."""
    vlb_weight: float = 0.001
    """Of a prior with learned variance: weight of the bound in bits a value that trains the variance alone.

    0.001 is Improved DDPM's, with Adam. Muon does not scale up the small gradients that it leaves: 1 suits it better.
    """
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
    """Side of the crops in pixels, a multiple of 64."""
    learning_rate: tuple[float, float] = (3e-4, 3e-4)
    rate: tuple[float, float] = (1.0, 1.0)
    """Multiplies rate_weight: near zero at first, or the rate crushes the latents before they carry anything."""
    perceptual: tuple[float, float] = (1.0, 1.0)
    """Multiplies perceptual_weight; the product is at most 1."""
    structure: tuple[float, float] = (1.0, 1.0)
    """Multiplies structure_scale."""
    texture: tuple[float, float] = (1.0, 1.0)
    """Multiplies vgg_scale and texture_scale; at 0 VGG16 does not run."""
    continuous: float = 0.0
    """Share of the pictures whose t is uniform in [0, 1]; the others are at t = 1."""
    freeze_latents: bool = False
    """Train the denoiser alone, on the averaged latents as they are when the first such stage begins."""
    method: str = ""
    """How a student is taught, one of `methods.METHODS`; empty is [distill]'s."""
    sampling_steps: int = 1
    """N, a power of 2. Progressive: the student's steps, two of the teacher's each. Direct: the `continuous` share is
    where k of 2, 4 ... or N steps of the student's own lead."""
    gap: tuple[float, float] = (1.0, 1.0)
    """Of consistency: the part of t from t down to s, where noise is strong (see `lessons`); at 1 the target is x."""


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str
    data: DataConfig
    stage: tuple[Stage, ...]
    loss: LossConfig = field(default_factory=LossConfig)
    trains: str = "codec"
    """What the recipe trains: "codec", whose networks [model] shapes; "prior", which [prior] shapes; the palette
    codec's "autoencoder", which [autoencoder] shapes, and "latent-prior", again of [prior], over its latents."""
    model: ModelConfig = field(default_factory=ModelConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    """How a "student" is taught, and from which weights: their denoiser is trained on, all else of them stays."""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    start: str = ""
    """Of a codec: path of weights that ship, whose training goes on in the first step; empty starts untrained."""
    latents: str = ""
    """Of a latent prior: path of the autoencoder's weights, as its own recipe leaves them."""
    seed: int = 0
    out: str = "../runs"
    ema: float = 0.999
    clip: float = 1.0
    precision: str = "auto"
    """Of the networks' forward pass: "float32", "bfloat16", or "auto": bfloat16 on a GPU that has it, else float32."""
    warmup: int = 100
    """Steps over which the learning rate rises from zero."""
    checkpoint_every: int = 200
    validate_every: int = 400
    report_every: int = 50
    """Steps from one line with the loss to the next, where there is no terminal to draw a bar on."""
    folder: Path = Path()
    """Where the recipe lies; set on reading."""

    def path(self, relative: str) -> Path:
        """A path of the recipe, resolved against its folder."""
        return (self.folder / relative).resolve()

    @property
    def teacher(self) -> Path | None:
        """The weights file whose latents a student or a sampler keeps; None is the package's."""
        return self.path(self.distill.teacher) if self.distill.teacher else None

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stage)


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises UsageError naming its file, all files it extends, and the first thing wrong."""
    tables, where = values.tables(path)
    recipe = replace(values.build(Recipe, tables, where), folder=path.resolve().parent)
    try:
        _check(recipe)
        return _taught(recipe)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _check(recipe: Recipe) -> None:
    """What no single value can tell."""
    if recipe.precision not in PRECISIONS:
        raise UsageError(f"precision is {recipe.precision!r}; allowed are {', '.join(PRECISIONS)}")
    if recipe.trains not in TRAINABLE:
        raise UsageError(f"trains is {recipe.trains!r}; allowed are {', '.join(TRAINABLE)}")
    if recipe.start and recipe.trains != "codec":
        raise UsageError(f"start is {recipe.start!r}; only recipes that train a codec go on from weights")
    if not recipe.stage:
        raise UsageError("a recipe needs at least one [[stage]]")
    if recipe.name in ("", ".", "..") or set(recipe.name) & set("/\\") or len(recipe.name.encode()) > NAME_MAX:
        raise UsageError(f"name is {recipe.name!r}; the name of a folder is allowed, up to {NAME_MAX} bytes")
    if recipe.trains == "prior" and recipe.prior.channels != COLOURS:
        raise UsageError(f"prior: channels is {recipe.prior.channels}; pictures have {COLOURS}")
    for stage in recipe.stage:
        where = f"stage {stage.name!r}"
        if recipe.trains in ("prior", "latent-prior") and stage.crop % (unit := _unit(recipe)):
            raise UsageError(
                f"{where}: crop is {stage.crop}; with patch {recipe.prior.patch} a multiple of {unit} does"
            )
        if stage.crop % 64:
            raise UsageError(f"{where}: crop is {stage.crop}; a multiple of 64 is allowed")
        if stage.batch * stage.crop**2 > PIXELS_MAX:
            raise UsageError(f"{where}: {stage.batch} crops of {stage.crop}; {PIXELS_MAX} pixels a step are allowed")
        if recipe.loss.structure_scale and stage.crop < MS_SSIM_CROP:
            raise UsageError(f"{where}: crop is {stage.crop}; structure_scale needs {MS_SSIM_CROP} or more")
        if max(stage.perceptual) * recipe.loss.perceptual_weight > 1:
            raise UsageError(f"{where}: perceptual is {max(stage.perceptual)}; perceptual_weight times it must be <= 1")


def _unit(recipe: Recipe) -> int:
    """What the prior halves twice behind its patches, in pixels: latents are at 1/8."""
    return 4 * recipe.prior.patch * (8 if recipe.trains == "latent-prior" else 1)


def _taught(recipe: Recipe) -> Recipe:
    """The recipe with a method in every stage, if it trains a student."""
    if recipe.trains == "sampler":
        return recipe
    if recipe.trains != "student":
        if recipe.distill != DistillConfig() or any(stage.method for stage in recipe.stage):
            raise UsageError('[distill] and a stage\'s method are of recipes with trains = "student" alone')
        return recipe
    stages = tuple(replace(stage, method=stage.method or recipe.distill.method) for stage in recipe.stage)
    methods.check(recipe.distill, stages)
    return replace(recipe, stage=stages)
