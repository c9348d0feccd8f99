"""The pictures of the reverse process: noise goes, and what knowing costs in bits."""

from regrain import registry
from regrain.bitstream import MOST_STEPS
from regrain_lab.evaluation.charts import Panel
from regrain_lab.evaluation.contact_sheet import Column
from regrain_lab.evaluation.likelihood import Bound
from regrain_lab.explanation import reverse
from regrain_lab.explanation.drawing import chart, choose, curve, estimate_columns, sheet
from regrain_lab.explanation.page import Page
from regrain_lab.explanation.reverse import rmse

__all__ = ["add_reverse"]

STARTS = {"free": None, "middle": -4.0, "late": 0.0}
"""Log-SNR where the reverse process begins; None is noise alone."""
PATH_STEPS, COLUMNS = 20, 5


def add_reverse(page: Page) -> None:
    """Add the estimates, the way back, the bound and the stream."""
    denoiser, x_0 = registry.prior_for().denoiser, page.subject.x_0
    bound, estimates = reverse.measure_bound(
        denoiser, x_0, page.steps, page.seed, page.counter("estimating", page.steps)
    )
    errors = [(one.log_snr, rmse(one.x_0, x_0)) for one in estimates]
    _bound(page, bound, errors)
    few = choose(estimates, COLUMNS)
    figures = [f"error {rmse(one.x_0, x_0):.1f} levels" for one in few]
    noisy, clean = estimate_columns(page.subject, few, figures)
    page.add("estimates", sheet({"x_t": noisy, "what the model takes x_0 to be": clean}))
    page.values |= {
        "first_log_snr": f"{errors[0][0]:g}",
        "worst_rmse": f"{max(error for _, error in errors):.1f}",
        "first_rmse": f"{errors[0][1]:.1f}",
        "last_log_snr": f"{errors[-1][0]:g}",
        "last_rmse": f"{errors[-1][1]:.1f}",
    }
    _paths(page)
    _stream(page, errors)


def _paths(page: Page) -> None:
    denoiser, x_0, strips = registry.prior_for().denoiser, page.subject.x_0, {}
    done = page.counter("going back", PATH_STEPS * len(STARTS))
    for name, log_snr in STARTS.items():
        states, end = reverse.descend(denoiser, x_0, log_snr, PATH_STEPS, page.seed, done)
        few = choose(states, COLUMNS - 1)
        columns, _ = estimate_columns(page.subject, few, [""] * len(few))
        error = rmse(end, x_0)
        columns.append(Column("the end", page.subject.to_pixels(end), [f"error {error:.1f} levels"]))
        strips["from noise alone" if log_snr is None else f"from the photo at log-SNR {log_snr:g}"] = columns
        page.values |= {f"{name}_rmse": f"{error:.1f}", f"{name}_log_snr": f"{few[0].log_snr:g}"}
    page.add("reverse", sheet(strips))
    page.values["path_steps"] = str(PATH_STEPS)


def _bound(page: Page, bound: Bound, errors: list[tuple[float, float]]) -> None:
    size = bound.dimensions
    steps = (bound.steps[0] / size).tolist()
    prior, decoder = (float(term[0]) / size for term in (bound.prior, bound.decoder))
    after = [log_snr for log_snr, _ in errors][1:]
    by_step = list(zip(after, steps, strict=True))
    known = (bound.cumulative[0] / size).tolist()[:-1]
    rate = list(zip(known, [error for _, error in errors], strict=True))
    page.add(
        "bound",
        chart(
            [
                Panel("Bits of each step", "log-SNR after it", "bits a value", [curve("the bound", by_step)]),
                Panel("Error over bits so far", "bits a value", "error in levels", [curve("the bound", rate)]),
            ]
        ),
    )
    dearest = max(by_step, key=lambda step: step[1], default=(errors[0][0], 0.0))
    page.values |= {
        "prior_bits": f"{prior:.5f}",
        "step_bits": f"{sum(steps):.3f}",
        "decoder_bits": f"{decoder:.3f}",
        "total_bits": f"{prior + sum(steps) + decoder:.3f}",
        "dearest_log_snr": f"{dearest[0]:g}",
        "dearest_bits": f"{dearest[1]:.3f}",
    }


def _stream(page: Page, errors: list[tuple[float, float]]) -> None:
    size = page.subject.x_0.size
    points = reverse.stream(registry.prior_for().denoiser, page.subject, page.counter("sending", MOST_STEPS))
    written = [(one.log_snr, one.bits / size) for one in points]
    carried = [(one.log_snr, one.divergence / size) for one in points]
    lines = [curve("written", written), curve("divergence", carried, formula=True)]
    page.add("stream", chart([Panel("The progressive stream", "log-SNR after a step", "bits a value so far", lines)]))
    last = points[-1]
    page.values |= {
        "stream_bits": f"{last.bits / size:.3f}",
        "stream_log_snr": f"{last.log_snr:g}",
        "over": f"{last.bits / max(1.0, last.divergence):.2f}",
        "stream_rmse": f"{min(errors, key=lambda one: abs(one[0] - last.log_snr))[1]:.1f}",
    }
