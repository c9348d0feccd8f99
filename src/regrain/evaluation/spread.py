import numpy as np
SIDE=16
LUMA = np.array([.299, .587, .114])
def squares(x):
    h, w = (s // SIDE * SIDE for s in x.shape[:2])
    return x[:h, :w].reshape(h // SIDE, SIDE, w // SIDE, SIDE, *x.shape[2:]).mean(axis=(1, 3))
def kinds(p):
    y = p.astype(float) @ LUMA
    gy, gx = np.gradient(y)
    a, b, c = squares(gx*gx), squares(gy*gy), squares(gx*gy)
    tr = a + b
    coh = np.sqrt((a-b)**2 + 4*c*c) / np.maximum(tr, 1e-9)
    g = np.sqrt(tr)
    return (g >= 6) & (coh < .5), (g >= 16) & (coh >= .8)
def sums(p, seeds):
    """Of texture and of edges: sum of variance, of squared error, number of squares."""
    s = np.stack(seeds).astype(np.float32)
    var = squares(s.var(0, ddof=1).mean(2))
    err = squares(((s - p) ** 2).mean((0, 3)))
    return [(var[m].sum(), err[m].sum(), int(m.sum())) for m in kinds(p)]
