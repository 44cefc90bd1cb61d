// The network, in a thread of its own, so that the page stays alive: files are decoded and predicted here.
import * as wasm from "onnxruntime-web/wasm";
import { imageChannels, type Card } from "./card";
import { ImageError, openImage, type ImageFile } from "./images";
import type { Planes, Samples } from "./normalize";
import { predict, type Network } from "./predict";
import { mirrored } from "./tiling";

export type Question =
  | { op: "load"; card: Card }
  | { op: "open"; file: File }
  | { op: "read" | "page"; page: number } // all channels, or those that the network takes
  | { op: "predict"; image: Planes };

export interface Facts {
  pages: number;
  channels: number;
  width: number;
  height: number;
  dtype: string;
}

export interface Failure {
  reason: string;
  values: Record<string, string | number>;
}

// An instruction of SIMD: browsers without it refuse the module.
const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]);

let card: Card;
let network: Network;
let file: ImageFile;

/** Load the runtime and the network; return what computes: webgpu or wasm. */
async function load(of: Card): Promise<{ backend: string }> {
  card = of;
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(SIMD)) throw new ImageFailure("noSimd");
  const model = new Uint8Array(await (await fetch("model.onnx")).arrayBuffer());
  const gpu = await gpuSession(model);
  const ort = gpu?.ort ?? wasm;
  const session = gpu?.session ?? (await sessionOf(wasm, model, "wasm"));
  network = async (pixels, height, width) => {
    const tensor = new ort.Tensor("float32", pixels, [1, card.mean.length, height, width]);
    const answer = (await session.run({ [session.inputNames[0]!]: tensor }))[session.outputNames[0]!]!;
    const [, channels, tall, wide] = answer.dims as [number, number, number, number];
    return { logits: (await answer.getData()) as Float32Array, channels, height: tall, width: wide };
  };
  return { backend: gpu === null ? "wasm" : "webgpu" };
}

type Runtime = typeof wasm;

function sessionOf(ort: Runtime, model: Uint8Array, provider: "wasm" | "webgpu") {
  ort.env.wasm.wasmPaths = new URL("./", self.location.href).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  ort.env.logLevel = "error";
  return ort.InferenceSession.create(model, { executionProviders: [provider] });
}

/** A session on the GPU, where the browser gives one and can wait for it inside WASM; null: the CPU computes. */
async function gpuSession(model: Uint8Array) {
  const { gpu } = navigator as { gpu?: { requestAdapter: () => Promise<unknown> } };
  if (gpu === undefined || !("Suspending" in WebAssembly) || (await gpu.requestAdapter().catch(() => null)) === null) return null;
  try {
    const ort = (await import("onnxruntime-web/jspi")) as unknown as Runtime;
    return { ort, session: await sessionOf(ort, model, "webgpu") };
  } catch {
    return null;
  }
}

class ImageFailure extends Error {
  constructor(readonly reason: string, readonly values: Record<string, string | number> = {}) {
    super(reason);
  }
}

async function answer(question: Question, progress: (part: unknown, transfer: Transferable[]) => void): Promise<unknown> {
  switch (question.op) {
    case "load":
      return load(question.card);
    case "open": {
      file = await openImage(question.file);
      const { pages, channels, width, height, dtype } = file;
      return { pages, channels, width, height, dtype } satisfies Facts;
    }
    case "read":
      return file.read(question.page);
    case "page":
      return withNeighbours(question.page);
    case "predict":
      for await (const part of predict(question.image, card, network)) progress(part, [part.probabilities.buffer as ArrayBuffer]);
      return null;
  }
}

/** A slice, between the slices around it that the network sees it with; a stack is mirrored at its ends. */
async function withNeighbours(page: number): Promise<Planes> {
  if (card.context === 0) return chosen(await file.read(page));
  const slices: Planes[] = [];
  for (const one of mirrored(page - card.context, page + card.context + 1, file.pages)) slices.push(chosen(await file.read(one)));
  const size = slices[0]!.values.length;
  const values = new (slices[0]!.values.constructor as new (length: number) => Samples)(size * slices.length);
  slices.forEach((slice, at) => values.set(slice.values, at * size));
  return { ...slices[0]!, channels: card.mean.length, values };
}

/** The channels of a slice that the network takes; others only where the run names those it wants. */
function chosen(image: Planes): Planes {
  const [wanted, named] = [imageChannels(card), card.predict.channels];
  if (image.channels === wanted) return image;
  if (named === null || named.length !== wanted || Math.max(...named) >= image.channels) throw new ImageFailure("channels", { found: image.channels, wanted });
  const size = image.height * image.width;
  const values = image.values.slice(0, wanted * size);
  named.forEach((channel, at) => values.set(image.values.subarray(channel * size, (channel + 1) * size), at * size));
  return { ...image, channels: wanted, values };
}

self.addEventListener("message", (event: MessageEvent<Question & { id: number }>) => {
  const { id } = event.data;
  const post = (message: object, transfer: Transferable[] = []) => { (self as unknown as Worker).postMessage({ id, ...message }, transfer); };
  answer(event.data, (part, transfer) => { post({ part }, transfer); }).then(
    (done) => { post({ done }); },
    (error: unknown) => {
      const known = error instanceof ImageError || error instanceof ImageFailure;
      const failed: Failure = known ? { reason: error.reason, values: error.values } : { reason: "broken", values: { why: error instanceof Error ? error.message : String(error) } };
      post({ failed });
    },
  );
});
