/** The networks, on ONNX Runtime: planes in, planes out. Each is loaded when it first runs. */

import * as ort from "onnxruntime-web/wasm";

import { fail, reason } from "./errors.ts";
import type { FileName, Model } from "./model.ts";
import type { Planes } from "./planes.ts";

/** Which networks a graphics card may run: no symbol and no latent comes from these. */
const ON_GPU = new Set(["denoiser", "sampler", "samplingContext"]);

export class Networks {
  private readonly sessions = new Map<string, ort.InferenceSession>();
  /** Whether a session here may run on the graphics card, which others may have left meanwhile. */
  private onCard: boolean;

  /** Those of a model; `card` says whether a graphics card is used, to all networks that share it. */
  constructor(
    readonly model: Model,
    private readonly card: { used: boolean },
  ) {
    this.onCard = card.used;
  }

  /** The networks of another model, where these run. */
  of(model: Model): Networks {
    return new Networks(model, this.card);
  }

  /** Runs a network of a file on inputs in its order; vectors are planes of one pixel. */
  async run(file: FileName, name: string, inputs: readonly Planes[]): Promise<Planes[]> {
    const onGpu = this.onCard && ON_GPU.has(name);
    try {
      return await this.compute(file, name, inputs);
    } catch (error) {
      if (!onGpu) throw error;
      await this.leaveGpu();
      return this.compute(file, name, inputs);
    }
  }

  /** From now on the processor runs everything: the graphics card has failed. */
  private async leaveGpu(): Promise<void> {
    this.card.used = this.onCard = false;
    for (const [name, session] of this.sessions) {
      if (!ON_GPU.has(name)) continue;
      this.sessions.delete(name);
      await session.release().catch(() => undefined);
    }
  }

  private async compute(file: FileName, name: string, inputs: readonly Planes[]): Promise<Planes[]> {
    const session = await this.session(file, name);
    const feeds = session.inputNames.map((input, at) => {
      const { data, channels, rows, columns } = inputs[at]!;
      return [input, new ort.Tensor("float32", data, [1, channels, rows, columns])] as const;
    });
    try {
      const outputs = await session.run(Object.fromEntries(feeds));
      return session.outputNames.map((output) => {
        const { data, dims } = outputs[output]!;
        const [, channels, rows, columns] = dims as [number, number, number, number];
        return { data: data as Float32Array, channels, rows, columns };
      });
    } catch (error) {
      return fail(/alloc|memory/i.test(reason(error)) ? "LimitError" : "ModelError", `the ${name} does not run: ${reason(error)}`);
    }
  }

  private async session(file: FileName, name: string): Promise<ort.InferenceSession> {
    const known = this.sessions.get(name);
    if (known) return known;
    const graph = this.model.graph(file, name);
    try {
      const session = await ort.InferenceSession.create(graph, {
        executionProviders: this.card.used && ON_GPU.has(name) ? ["webgpu", "wasm"] : ["wasm"],
        logSeverityLevel: 3,
      });
      this.sessions.set(name, session);
      return session;
    } catch (error) {
      return fail("ModelError", `the ${name} cannot be loaded: ${reason(error)}`);
    }
  }
}
