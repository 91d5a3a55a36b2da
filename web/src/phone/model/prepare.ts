// What happens to the pixels of a photo before a network sees them, as catenary.predict.prepare does it.

import { mean, percentiles, roundEven, type Photo } from "../measure/arrays.ts";
import { mirrored } from "../measure/planes.ts";
import { resizePhoto } from "../measure/resize.ts";
import type { Input, Model } from "./bundle.ts";

interface Affine {
  readonly scale: number;
  readonly offset: number;
  readonly low: number;
  readonly high: number;
}

/** A photo at the size that a network works at. */
export function atWorkingSize(photo: Photo, size: number): Photo {
  if (!size) return photo;
  const factor = size / Math.max(photo.height, photo.width);
  return resizePhoto(photo, [
    Math.max(1, roundEven(photo.height * factor)),
    Math.max(1, roundEven(photo.width * factor)),
  ]);
}

/** What each channel is multiplied with, and what is added, after a clip. */
function affinesOf(photo: Photo, input: Input): Affine[] {
  return photo.planes.map((plane, channel) => affineOf(plane, channel, input));
}

function affineOf(plane: Uint8Array, channel: number, input: Input): Affine {
  const bounds = input.window.length ? { low: input.window[0], high: input.window[1] } : { low: 0, high: 255 };
  const clip = (value: number) => Math.min(Math.max(value, bounds.low), bounds.high);
  let { low, high } = bounds;
  let [middle, spread] = [0, 1];
  if (input.normalise === "dataset") [middle, spread] = [input.mean[channel], input.std[channel]];
  else if (input.normalise === "range") spread = 255;
  else if (input.normalise === "image") {
    const every = sparse(plane, 4_000_000).map(clip);
    middle = mean(every);
    spread = Math.sqrt(mean(every.map((value) => (value - middle) ** 2))) || 1;
  } else if (input.normalise === "percentile") {
    [low, high] = percentiles(sparse(plane, 1_000_000).map(clip), [1, 99]);
    [middle, spread] = [(low + high) / 2, high > low ? (high - low) / 2 : 1];
  }
  const single = Math.fround;
  return { scale: single(1 / spread), offset: single(-middle / spread), low: single(low), high: single(high) };
}

function sparse(plane: Uint8Array, most: number): Float64Array {
  const step = Math.max(1, Math.floor(plane.length / most));
  const found = new Float64Array(Math.ceil(plane.length / step));
  for (let k = 0; k < found.length; k++) found[k] = plane[k * step];
  return found;
}

/** The normalised value of each of the 256 levels of a channel. */
function table({ scale, offset, low, high }: Affine): Float32Array {
  return Float32Array.from({ length: 256 }, (_, level) =>
    Math.fround(Math.fround(Math.min(Math.max(level, low), high) * scale) + offset),
  );
}

/** A part of a frame. */
export interface Window {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** A side of a photo in the frame that it is seen in: how much lies before it, and how long the frame is. */
export interface Framing {
  readonly before: number;
  readonly side: number;
}

/** Where a side lies in a frame: in its middle where the frame is longer, else at its start. */
export function framingOf(side: number, frame: number): Framing {
  if (frame <= side) return { before: 0, side };
  return { before: Math.floor(frame / 2) - Math.floor(side / 2), side: frame };
}

/** Pixels of a photo's side for places in its frame, mirrored beyond the frame's ends, and beyond the photo's. */
function places(start: number, length: number, { before, side }: Framing, own: number): Int32Array {
  return Int32Array.from({ length }, (_, k) => mirrored(mirrored(start + k, side, 0) - before, own, 0));
}

/** Gives windows of a photo as networks see them, normalised; by default the photo is its own frame. */
export function windowsOf(
  photo: Photo,
  input: Input,
  frame: readonly [number, number] = [0, 0],
): (window: Window) => Float32Array {
  const tables = affinesOf(photo, input).map(table);
  const [down, across] = [framingOf(photo.height, frame[0]), framingOf(photo.width, frame[1])];
  return ({ top, left, height, width }) => {
    const x = new Float32Array(photo.planes.length * height * width);
    const rows = places(top, height, down, photo.height);
    const columns = places(left, width, across, photo.width);
    let at = 0;
    photo.planes.forEach((plane, channel) => {
      const values = tables[channel];
      for (const row of rows) {
        const start = row * photo.width;
        for (let column = 0; column < width; column++) x[at++] = values[plane[start + columns[column]]];
      }
    });
    return x;
  };
}

/** What a classifier sees: the middle of the photo at its working size, mirrored where the network's frame is larger. */
export function framed(photo: Photo, input: Input): Float32Array {
  const ready = atWorkingSize(photo, input.size);
  const [height, width] = input.patch;
  const top = Math.floor(ready.height / 2) - Math.floor(height / 2);
  const left = Math.floor(ready.width / 2) - Math.floor(width / 2);
  return windowsOf(ready, input)({ top, left, height, width });
}

/** A warning with a key of messages, and what stands in it. */
export interface Told {
  readonly key: string;
  readonly values: Readonly<Record<string, string | number>>;
}

/** What makes the answer doubtful: a photo unlike those of the training set. */
export function doubts(photo: Photo, model: Model): Told[] {
  const found: Told[] = [];
  let [low, high] = [255, 0];
  for (const plane of photo.planes) {
    for (let at = 0; at < plane.length; at++) {
      if (plane[at] < low) low = plane[at];
      if (plane[at] > high) high = plane[at];
    }
  }
  if (low === high) found.push({ key: "doubt.flat", values: { level: low } });
  const { dtype, low: lows, high: highs } = model.input;
  if (dtype !== "uint8") found.push({ key: "doubt.type", values: { type: dtype } });
  if (lows?.length && highs?.length && low !== high) {
    const [bottom, top] = [Math.min(...lows), Math.max(...highs)];
    const step = Math.max(1, Math.floor(photo.planes[0].length / 100_000));
    const few = photo.planes.flatMap((plane) => [...plane.filter((_, at) => at % step === 0)]);
    const [middle] = percentiles(few, [50]);
    const reach = 0.5 * (top - bottom);
    if (middle < bottom - reach || middle > top + reach) {
      found.push({ key: "doubt.range", values: { level: middle, low: bottom, high: top } });
    }
  }
  return found;
}
