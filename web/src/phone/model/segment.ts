// From a photo to a label map on its own grid: working size, tiles, network, blend, threshold, tidy.

import { boundingBox, cut, type Photo, type Plane } from "../measure/arrays.ts";
import { fillHoles, largestOf, partAs, partsOf } from "../measure/planes.ts";
import { eachRow } from "../measure/resize.ts";
import type { Model, Output, Run } from "./bundle.ts";
import { atWorkingSize, framingOf, windowsOf } from "./prepare.ts";

type Mask = Plane<Uint8Array>;
type Pair = readonly [number, number];

/** Where tiles begin along one axis, how long the axis gets by padding, and the weights of a tile. */
export interface Cut {
  readonly length: number;
  readonly tile: number;
  readonly starts: readonly number[];
  readonly weights: Float32Array;
}

/** How one axis of `side` pixels is cut into tiles. */
export function cutOf(side: number, tile: number, overlap: number, multiple: number, least: number): Cut {
  const up = (n: number) => Math.ceil(n / multiple) * multiple;
  const needed = Math.max(side, least);
  const length = Math.min(up(tile), up(needed));
  const padded = Math.max(up(needed), length);
  const step = Math.max(multiple, Math.floor((length - overlap) / multiple) * multiple);
  const starts: number[] = [];
  for (let start = 0; start < padded - length; start += step) starts.push(start);
  starts.push(padded - length);
  return { length: padded, tile: length, starts, weights: bell(length) };
}

function bell(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, k) => {
    const x = (k - (size - 1) / 2) / (size / 8);
    return Math.max(Math.exp(-0.5 * x * x), 1e-3);
  });
}

/** Probabilities at working size, one plane a target. */
export async function probabilities(
  photo: Photo,
  model: Model,
  run: Run,
  progress: (done: number, total: number) => void = () => {},
): Promise<Plane<Float32Array>[]> {
  const { input } = model;
  const ready = atWorkingSize(photo, input.size);
  const window = windowsOf(ready, input, input.frame);
  const sides = [ready.height, ready.width].map((side, axis) => framingOf(side, input.frame[axis]));
  const [rows, columns] = sides.map(({ side }, axis) =>
    cutOf(side, input.tile[axis], input.overlap[axis], input.multiple[axis], input.least[axis]),
  );
  const [above, before] = sides.map((side) => side.before);
  const total = rows.starts.length * columns.starts.length;
  const size = { height: rows.tile, width: columns.tile };
  if (total === 1) {
    const answer = await run(model, window({ top: 0, left: 0, ...size }), size.height, size.width);
    progress(1, 1);
    const box = { top: above, left: before, bottom: above + ready.height, right: before + ready.width };
    return planesIn(answer.probability, size).map((plane) => cut(plane, box));
  }
  const frame = { height: rows.length, width: columns.length };
  let sums: Float32Array[] = [];
  const known = new Float32Array(frame.height * frame.width);
  let done = 0;
  for (const top of rows.starts) {
    for (const left of columns.starts) {
      const answer = await run(model, window({ top, left, ...size }), size.height, size.width);
      const planes = planesIn(answer.probability, size);
      if (!sums.length) sums = planes.map(() => new Float32Array(known.length));
      for (let row = 0; row < size.height; row++) {
        for (let column = 0; column < size.width; column++) {
          const weight = rows.weights[row] * columns.weights[column];
          const to = (top + row) * frame.width + left + column;
          known[to] += weight;
          planes.forEach((plane, k) => (sums[k][to] += plane.data[row * size.width + column] * weight));
        }
      }
      progress(++done, total);
    }
  }
  const box = { top: above, left: before, bottom: above + ready.height, right: before + ready.width };
  return sums.map((sum) => cut({ data: sum.map((value, at) => value / known[at]), ...frame }, box));
}

function planesIn(data: Float32Array, size: { height: number; width: number }): Plane<Float32Array>[] {
  const each = size.height * size.width;
  return Array.from({ length: data.length / each }, (_, k) => ({ data: data.subarray(k * each, (k + 1) * each), ...size }));
}

/** The label map of a photo's own size. */
export function labelled(planes: readonly Plane<Float32Array>[], size: Pair, output: Output): Mask {
  const [height, width] = size;
  if (output.task === "exclusive") return tidied(likeliest(planes, size), output);
  const limits = planes.map((_, k) => Math.fround(output.thresholds[k] ?? 0.5));
  const decided = planes.map((plane, k) => {
    const data = new Uint8Array(height * width);
    eachRow(plane, size, (row, values) => {
      for (let column = 0; column < width; column++) data[row * width + column] = values[column] > limits[k] ? 1 : 0;
    });
    return { data, height, width };
  });
  if (output.task === "binary") return tidied(decided[0], output);
  const names = Object.keys(output.regions);
  const members = Object.values(output.regions);
  const mask = { data: new Uint8Array(height * width), height, width };
  const tidy = decided.map((plane, k) => cleaned(withoutSpecks(plane, output.smallest), output.cleaning[names[k]] ?? []));
  tidy.forEach((plane, k) => {
    const later = new Set(members.slice(k + 1).flat());
    const painted = members[k].find((value) => !later.has(value)) ?? members[k][0];
    // a part counts only within its whole: no cup outside of a disc
    const around = tidy.filter((_, i) => members[i].length > members[k].length && members[k].every((one) => members[i].includes(one)));
    plane.data.forEach((value, at) => value && around.every((whole) => whole.data[at]) && (mask.data[at] = painted));
  });
  return mask;
}

function likeliest(planes: readonly Plane<Float32Array>[], size: Pair): Mask {
  const [height, width] = size;
  const data = new Uint8Array(height * width);
  const best = new Float32Array(height * width).fill(-1);
  planes.forEach((plane, k) =>
    eachRow(plane, size, (row, values) => {
      for (let column = 0; column < width; column++) {
        const at = row * width + column;
        if (values[column] > best[at]) [best[at], data[at]] = [values[column], k];
      }
    }),
  );
  return { data, height, width };
}

/** A label map of exclusive classes without specks, cleaned class by class. */
function tidied(label: Mask, output: Output): Mask {
  const size = { height: label.height, width: label.width };
  const plane = (data: Uint8Array, value: number): Mask => ({ ...size, data: data.map((one) => (one === value ? 1 : 0)) });
  const kept = label.data.slice();
  if (output.smallest) {
    for (let value = 1; value < output.names.length; value++) {
      const before = plane(label.data, value);
      const after = withoutSpecks(before, output.smallest);
      before.data.forEach((one, at) => one && !after.data[at] && (kept[at] = 0));
    }
  }
  const out = kept.slice();
  output.names.forEach((name, value) => {
    const steps = output.cleaning[name] ?? [];
    if (!value || !steps.length) return;
    const before = plane(kept, value);
    const after = cleaned(before, steps);
    for (let at = 0; at < out.length; at++) {
      if (before.data[at] && !after.data[at]) out[at] = 0;
      if (after.data[at] && !out[at]) out[at] = value;
    }
  });
  return { ...size, data: out };
}

function withoutSpecks(mask: Mask, smallest: number): Mask {
  if (!smallest) return mask;
  const parts = partsOf(mask, 8);
  const data = Uint8Array.from(parts.numbers, (number) => (number && parts.sizes[number - 1] >= smallest ? 1 : 0));
  return { ...mask, data };
}

function cleaned(mask: Mask, steps: readonly string[]): Mask {
  if (!steps.length || !boundingBox(mask)) return mask;
  let found: Mask = { ...mask, data: mask.data.slice() };
  if (steps.includes("largest")) {
    const parts = partsOf(found, 8);
    found = { ...found, data: partAs(parts, largestOf(parts)) };
  }
  if (steps.includes("fill")) fillHoles(found);
  return found;
}
