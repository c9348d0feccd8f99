import argparse, csv, io, sys, time, math
from pathlib import Path
import numpy as np, torch
import regrain
from regrain import bitstream
from regrain.conditional.decode import Knobs, decode_tiles, regrow
from regrain.diffusion import noise, schedule
from regrain.evaluation import metrics, realism, spectrum, spread
from regrain.evaluation.dists import Dists
from regrain.evaluation.perceptual import Lpips
from regrain.evaluation.sweep import pictures, pixels_of
from regrain.image import to_signed, write, pad_edge
from regrain.image.picture import Picture
from ssimulacra2 import compute_ssimulacra2

def ss2(a, b):
    files = []
    for p in (a, b):
        f = io.BytesIO(); write(Picture(p), f, format="png", compress_level=0); f.seek(0); files.append(f)
    return compute_ssimulacra2(*files)

def grown(model, stream, y_hat, knobs):
    h = stream.header
    return regrow(model, y_hat, (h.height, h.width), h.quality, grey=h.grey, knobs=knobs)

def latents(model, data):
    s = bitstream.read(data)
    h = s.header
    return s, decode_tiles(model, s.tiles, (h.height, h.width), h.quality, h.tile)

def fence(model, pixels, y_hat, quality, knobs, t=0.05):
    x0 = torch.from_numpy(pad_edge(to_signed(pixels), 16))
    level = knobs.realism * model.config.init_noise
    eps = torch.from_numpy(noise.normal(knobs.seed, 0, 0, 0, *x0.shape[1:])) * level
    al, si = schedule.get(model.config.schedule).at(t)
    x1 = model.denoise(eps, 1.0, y_hat, quality, knobs.realism)
    xt = model.denoise(al * x0 + si * eps, t, y_hat, quality, knobs.realism)
    p = lambda e: 10 * math.log10(4 / float((e - x0).square().mean()))
    return p(xt) - p(x1)

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("pictures", type=Path); ap.add_argument("weights", type=Path)
    ap.add_argument("--model", nargs="*", default=[None]); ap.add_argument("--qualities", nargs="*", type=float, default=[28, 15])
    ap.add_argument("--realism", type=float, default=1.0); ap.add_argument("--steps", type=int, default=1)
    ap.add_argument("--eta", type=float, default=0.0); ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--every", type=int, default=1); ap.add_argument("--seeds", type=int, default=8)
    ap.add_argument("--threads", type=int, default=1); ap.add_argument("--out", type=Path, default=Path("yardstick.csv"))
    o = ap.parse_args()
    torch.set_num_threads(o.threads)
    W = o.weights
    dists = Dists.load(W / "vgg16_features_fp16.safetensors", W / "dists_alpha_beta.safetensors")
    nets = {"lpips_alex": Lpips.load(W / "lpips_alex_v0.1.safetensors"), "lpips_squeeze": Lpips.load(W / "lpips_squeeze_v0.1.safetensors"),
            "lpips_vgg": Lpips.load(W / "lpips_vgg_lins.safetensors", W / "vgg16_features_fp16.safetensors")}
    models = [(m or "package", regrain.load(m)) for m in o.model]
    files = pictures(o.pictures)[0][::o.every]
    rows, sets = [], {}
    with torch.inference_mode():
      for n, file in enumerate(files):
        p = pixels_of(file); sh = p.shape[:2]
        x = torch.from_numpy(to_signed(p))[None]
        own = {k: v.units(x) for k, v in nets.items()}; taps = dists.taps(x)
        ref = (realism.pooled(own["lpips_vgg"], sh), realism.grams(own["lpips_alex"], sh)); e0 = spectrum.energies(p)
        for name, model in models:
            for q in o.qualities:
                t0 = time.time()
                data = regrain.encode(p, quality=q, model=model)
                stream, y_hat = latents(model, data)
                knobs = Knobs(o.steps, o.realism, o.eta, o.seed)
                d = grown(model, stream, y_hat, knobs)
                z = torch.from_numpy(to_signed(d))[None]
                r = {"model": name, "q": q, "picture": file.name, "bpp": 8 * len(data) / p[..., 0].size, "psnr": metrics.psnr(p, d), "ms_ssim": metrics.ms_ssim(p, d)}
                u = {k: v.units(z) for k, v in nets.items()}
                r |= {k: float(v.distance(own[k], u[k])) for k, v in nets.items()}
                r["dists"] = float(dists.distance(taps, dists.taps(z))); r["ssimulacra2"] = ss2(p, d)
                e = spectrum.energies(d)
                r |= {f"band{i + 1}": 10 * math.log10(b / a) for i, (a, b) in enumerate(zip(e0, e))}
                S = sets.setdefault((name, q), {"ref": [], "dec": [], "gref": [], "gdec": [], "group": [], "spread": []})
                S["ref"].append(ref[0]); S["gref"].append(ref[1])
                S["dec"].append(realism.pooled(u["lpips_vgg"], sh)); S["gdec"].append(realism.grams(u["lpips_alex"], sh))
                if o.seeds > 1:
                    s = [d] + [grown(model, stream, y_hat, Knobs(o.steps, o.realism, o.eta, o.seed + k)) for k in range(1, o.seeds)]
                    S["spread"].append(spread.sums(p, s))
                    for kind, (v, er, c) in zip(("texture", "edges"), S["spread"][-1]):
                        r[f"spread_{kind}"] = math.sqrt(v / er) if c else math.nan
                r["fence_db"] = fence(model, p, y_hat, stream.header.quality, knobs)
                data0 = regrain.encode(p, quality=0, model=model); s0, y0 = latents(model, data0)
                two = [grown(model, s0, y0, Knobs(o.steps, o.realism, o.eta, o.seed + k)).astype(float) for k in (0, 1)]
                r["seeds_q0"] = float(np.abs(two[0] - two[1]).mean())
                rows.append(r); print(f"{n + 1}/{len(files)} {name} q{q:g} {time.time() - t0:.1f} s", file=sys.stderr, flush=True)
    for (name, q), S in sets.items():
        mine = [r for r in rows if r["model"] == name and r["q"] == q]
        m = {k: float(np.nanmean([r[k] for r in mine])) for k in mine[0] if k not in ("model", "q", "picture")}
        groups = torch.tensor([i for i, b in enumerate(S["ref"]) for _ in b]); gg = torch.tensor([i for i, b in enumerate(S["gref"]) for _ in b])
        kid = realism.discrepancy(torch.cat(S["ref"]), torch.cat(S["dec"]), groups, 5)
        gram = realism.discrepancy(torch.cat(S["gref"]), torch.cat(S["gdec"]), gg, 3)
        for i, kind in enumerate(("texture", "edges")):
            if S["spread"]:
                v, er, c = (sum(t[i][j] for t in S["spread"]) for j in range(3))
                m[f"spread_{kind}"] = math.sqrt(v / er) if c else math.nan; m[f"squares_{kind}"] = c
        rows.append({"model": name, "q": q, "picture": "all", **m, "kid": 1e5 * kid[0], "kid_se": 1e5 * kid[1], "gram": 1e5 * gram[0], "gram_se": 1e5 * gram[1]})
    cols = list(dict.fromkeys(k for r in rows for k in r))
    with o.out.open("w", newline="") as f:
        w = csv.DictWriter(f, cols); w.writeheader(); w.writerows(rows)
    alls = [r for r in rows if r["picture"] == "all"]
    for k in cols:
        if k != "picture":
            print(f"{k:16s}", *(f"{Path(r[k]).name[-22:] if k == 'model' else format(r.get(k, math.nan), '.4f'):>22s}" for r in alls))
main()
