/** From x_1 to x_0: noise schedules and DDIM steps (Song et al. 2021, eq. 12 and 16). */

export type Schedule = (t: number) => [alpha: number, sigma: number];

const LOG_SNR_MAX = 20;

function atLogSnr(logSnr: number): [number, number] {
  const clamped = Math.min(LOG_SNR_MAX, Math.max(-LOG_SNR_MAX, logSnr));
  return [(1 + Math.exp(-clamped)) ** -0.5, (1 + Math.exp(clamped)) ** -0.5];
}

export const SCHEDULES = {
  /** alpha_t = cos(pi t / 2), away from the clamp of the log-SNR (Nichol and Dhariwal 2021, without the offset). */
  cosine: (t) => atLogSnr(2 * (Math.log(Math.sin(((1 - t) * Math.PI) / 2)) - Math.log(Math.sin((t * Math.PI) / 2)))),
  /** Log-SNR from 8 at t = 0 to 0.45 at t = 1, evenly. */
  truncated: (t) => atLogSnr(8 - 7.55 * t),
} satisfies Record<string, Schedule>;

/** What x_s is made of: x_s = picture x_0 + past x_t + std z. */
export function ddimStep(schedule: Schedule, t: number, s: number, eta: number): { picture: number; past: number; std: number } {
  const [[alphaT, sigmaT], [alphaS, sigmaS]] = [schedule(t), schedule(s)];
  const beta = Math.max(0, 1 - (alphaT / alphaS) ** 2);
  const std = eta * (sigmaS / sigmaT) * Math.sqrt(beta);
  const past = Math.sqrt(Math.max(0, sigmaS ** 2 - std ** 2)) / sigmaT;
  return { picture: alphaS - past * alphaT, past, std };
}
