"""A recipe (TOML) as frozen dataclasses: what was run, runnable.

Every table of the recipe is one dataclass below; an unknown name, a value of the wrong kind or one out of range is a
UsageError that says where it stands. `values` says how a recipe extends another file, and what paths are relative to.

A student learns by one of METHODS (`losses.distillation` has their formulas). Progressive stages halve the steps, N,
N / 2, N / 4 ...; a guided stage follows training with condition dropout, and only progressive stages follow it.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from regrain import configuration
from regrain.conditional.config import ModelConfig
from regrain.diffusion import schedule
from regrain.diffusion.prior import PriorConfig
from regrain.errors import UsageError
from regrain.palette.autoencoder import AutoencoderConfig
from regrain_lab.training import rules, values
from regrain_lab.training.members import DataConfig
from regrain_lab.training.rules import METHODS, STUDENTS, check_choice

__all__ = ["DataConfig", "DistillConfig", "LossConfig", "Recipe", "Stage", "read_recipe"]


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
    """How a student is taught, one of METHODS; empty is [distill]'s."""
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
        check_choice("method", self.method, METHODS)
        check_choice("perceptual_target", self.perceptual_target, ("target", "picture"))
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
    "student" or a "sampler", which [distill] starts from a weights file, and so, from a prior's, a "prior-student"; an
    "adapter" of the codec of `start`."""
    model: ModelConfig = field(default_factory=ModelConfig)
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
    """The networks run forward in "float32", "bfloat16", or "auto": bfloat16 on a GPU that has it, else float32."""
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
        """The weights file whose latents a student or a sampler keeps; None is the package's."""
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
        rules.check(recipe)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return recipe
