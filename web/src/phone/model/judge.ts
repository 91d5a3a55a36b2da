// From what a classifier's network says to a calibrated probability, its range, and whether the photo is familiar.

import { interpolated, type Photo } from "../measure/arrays.ts";
import type { Calibration, Familiar, JudgeStage, Run } from "./bundle.ts";
import { framed } from "./prepare.ts";

const TINY = 1e-12;
/** Fewer validation cases of a class than these give no range. */
const FEWEST = 5;

export interface Likeness {
  readonly distance: number;
  readonly percentile: number;
  readonly flagged: boolean;
}

export interface Judged {
  readonly stage: string;
  /** Names of the two classes; the second is what is looked for. */
  readonly names: readonly [string, string];
  readonly positive: boolean;
  /** Calibrated probability of the second class. */
  readonly probability: number;
  /** The same as the network gives it. */
  readonly plain: number;
  readonly interval: readonly [number, number] | null;
  readonly threshold: number;
  readonly likeness: Likeness | null;
}

/** What a stage says of the photo, or of the part of it that it sees. */
export async function judge(photo: Photo, stage: JudgeStage, run: Run): Promise<Judged> {
  const [height, width] = stage.model.input.patch;
  const answer = await run(stage.model, framed(photo, stage.model.input), height, width);
  const plain = answer.probability[answer.probability.length - 1];
  const probability = stage.calibration ? calibrated(plain, stage.calibration) : plain;
  const [negative, positive] = stage.model.output.names;
  return {
    stage: stage.name,
    names: [negative, positive],
    positive: probability >= stage.threshold,
    probability,
    plain,
    interval: span(plain, probability, stage.judged),
    threshold: stage.threshold,
    likeness: stage.familiar && answer.features ? likenessOf(answer.features, stage.familiar) : null,
  };
}

/** The calibrated probability of the second of two classes. */
export function calibrated(probability: number, { method, temperature, knots }: Calibration): number {
  if (method === "identity") return probability;
  if (method === "isotonic") {
    return interpolated(probability, knots.map(([x]) => x), knots.map(([, y]) => y));
  }
  const logits = [1 - probability, probability].map((value) => Math.log(Math.max(value, TINY)) / temperature);
  const highest = Math.max(...logits);
  const [no, yes] = logits.map((value) => Math.exp(value - highest));
  return yes / (no + yes);
}

/** The range that validation cases leave, wide enough to hold the probability too; null for too few. */
export function span(
  plain: number,
  probability: number,
  judged: readonly (readonly [number, number])[],
): [number, number] | null {
  const found = vennAbers(plain, judged);
  return found && [Math.min(found[0], probability), Math.max(found[1], probability)];
}

/** Range of the calibrated probability that validation cases leave (Vovk and Petej 2014); null for too few. */
function vennAbers(score: number, judged: readonly (readonly [number, number])[]): [number, number] | null {
  const positives = judged.reduce((sum, [, truth]) => sum + truth, 0);
  if (Math.min(positives, judged.length - positives) < FEWEST) return null;
  const ends = [0, 1].map((truth) => risenAt(score, [...judged, [score, truth]]));
  return [Math.min(...ends), Math.max(...ends)];
}

/** Isotonic regression of truths on scores by pooling adjacent violators, read at one of the scores. */
function risenAt(score: number, cases: readonly (readonly [number, number])[]): number {
  const blocks: { last: number; sum: number; weight: number }[] = [];
  for (const [at, truth] of [...cases].sort(([a], [b]) => a - b)) {
    const before = blocks.at(-1);
    if (before?.last === at) {
      before.sum += truth;
      before.weight++;
    } else blocks.push({ last: at, sum: truth, weight: 1 });
  }
  const pools: typeof blocks = [];
  for (const block of blocks) {
    let pool = { ...block };
    while (pools.length && pools.at(-1)!.sum / pools.at(-1)!.weight >= pool.sum / pool.weight) {
      const before = pools.pop()!;
      pool = { last: pool.last, sum: pool.sum + before.sum, weight: pool.weight + before.weight };
    }
    pools.push(pool);
  }
  const found = pools.find((pool) => score <= pool.last)!;
  return found.sum / found.weight;
}

/** How a photo compares with the training images, by the network's last features. */
export function likenessOf(features: Float32Array, known: Familiar): Likeness {
  const axes = halves(known.axes);
  const middle = new Float32Array(bytesOf(known.mean).buffer);
  const centred = Float64Array.from(features, (value, k) => value - middle[k]);
  const along = known.variances.map((_, axis) => {
    let sum = 0;
    for (let k = 0; k < known.features; k++) sum += centred[k] * axes[axis * known.features + k];
    return sum;
  });
  let left = 0;
  for (let k = 0; k < known.features; k++) {
    let value = centred[k];
    for (let axis = 0; axis < along.length; axis++) value -= along[axis] * axes[axis * known.features + k];
    left += value * value;
  }
  const parts = [left / (known.rest * (known.features - along.length))];
  if (along.length) {
    parts.push(along.reduce((sum, value, axis) => sum + value ** 2 / known.variances[axis], 0) / along.length);
  }
  const exact = Math.sqrt(parts.reduce((a, b) => a + b) / parts.length);
  const distance = Number.isFinite(exact) ? exact : Infinity;
  const places = known.quantiles.map((_, k) => k);
  return {
    distance,
    percentile: interpolated(distance, known.quantiles, places),
    flagged: distance > known.limit,
  };
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  return bytes;
}

/** Numbers of half precision. */
function halves(text: string): Float64Array {
  const bits = new Uint16Array(bytesOf(text).buffer);
  return Float64Array.from(bits, (bit) => {
    const sign = bit & 0x8000 ? -1 : 1;
    const exponent = (bit >> 10) & 31;
    const part = bit & 1023;
    if (exponent === 0) return sign * part * 2 ** -24;
    if (exponent === 31) return part ? NaN : sign * Infinity;
    return sign * (1 + part / 1024) * 2 ** (exponent - 15);
  });
}
