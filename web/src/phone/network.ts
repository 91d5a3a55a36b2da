// Networks run by ONNX Runtime as WebAssembly on one thread: the same answer on every phone.

import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type { Model, Run } from "./model/bundle.ts";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm };
ort.env.logLevel = "error";

/** Networks that are open, by the hash of their file. */
export class Networks {
  private readonly open = new Map<string, ort.InferenceSession>();

  /** Open a model from its bytes. */
  async add(model: Model, bytes: ArrayBuffer): Promise<void> {
    const options: ort.InferenceSession.SessionOptions = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
    this.open.set(model.sha256, await ort.InferenceSession.create(bytes, options));
  }

  /** Close all; the next bundle brings its own. */
  async clear(): Promise<void> {
    await Promise.all([...this.open.values()].map((session) => session.release()));
    this.open.clear();
  }

  readonly run: Run = async (model, x, height, width) => {
    const session = this.open.get(model.sha256);
    if (!session) throw new Error(`the model ${model.file} is not open`);
    const input = new ort.Tensor("float32", x, [1, model.input.channels, height, width]);
    const found = await session.run({ [session.inputNames[0]]: input });
    const answer = found.probability ?? found[session.outputNames[0]];
    return {
      probability: answer.data as Float32Array,
      dims: answer.dims,
      features: (found.features?.data as Float32Array | undefined) ?? null,
    };
  };
}
