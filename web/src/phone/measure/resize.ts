// Pictures brought to another size with the arithmetic of OpenCV: averaged over areas when they shrink, linear with
// 11-bit weights when they grow. The same pixels come out as in Python, level by level.

import { roundEven, type Photo, type Plane } from "./arrays.ts";

type Size = readonly [height: number, width: number];

/** A photo at another size: areas when its height shrinks, else linear. */
export function resizePhoto(photo: Photo, size: Size): Photo {
  const [height, width] = size;
  if (photo.height === height && photo.width === width) return photo;
  const planes = photo.planes.map((data) => {
    const plane = { data, height: photo.height, width: photo.width };
    return (height < photo.height ? shrunkLevels(plane, size) : grown(plane, size)).data;
  });
  return { planes: planes as unknown as Photo["planes"], height, width };
}

/** A smaller copy, each pixel the mean over the area that it covers, rounded to levels. */
export function shrunkLevels(plane: Plane<Uint8Array>, [height, width]: Size): Plane<Uint8Array> {
  const data = new Uint8Array(height * width);
  const across = ratio(plane.width, width);
  const down = ratio(plane.height, height);
  if (Number.isInteger(across) && Number.isInteger(down)) {
    blocks(plane, height, width, down, across, data);
  } else {
    areas(plane, height, width, (row, sums) => {
      for (let column = 0; column < width; column++) {
        data[row * width + column] = Math.min(255, Math.max(0, roundEven(sums[column])));
      }
    });
  }
  return { data, height, width };
}

/** The same of numbers that are no levels, not rounded. */
export function shrunk(plane: Plane, [height, width]: Size): Plane<Float32Array> {
  const data = new Float32Array(height * width);
  if (plane.height === height && plane.width === width) data.set(plane.data);
  else areas(plane, height, width, (row, sums) => data.set(sums, row * width));
  return { data, height, width };
}

function ratio(from: number, to: number): number {
  const exact = 1 / (to / from);
  const whole = Math.round(exact);
  return Math.abs(exact - whole) < 2.220446049250313e-16 ? whole : exact;
}

/** Whole blocks: sums of levels are exact, and 2 x 2 rounds halves up. */
function blocks(plane: Plane, height: number, width: number, down: number, across: number, out: Uint8Array): void {
  const share = Math.fround(1 / (down * across));
  const two = down === 2 && across === 2;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let y = 0; y < down; y++) {
        const start = (row * down + y) * plane.width + column * across;
        for (let x = 0; x < across; x++) sum += plane.data[start + x];
      }
      out[row * width + column] = two ? (sum + 2) >> 2 : roundEven(Math.fround(sum * share));
    }
  }
}

interface Share {
  readonly to: number;
  readonly from: number;
  readonly weight: number;
}

/** Which pixels of a line make up each pixel of a shorter one, and by how much. */
function shares(from: number, to: number): Share[] {
  const scale = 1 / (to / from);
  const found: Share[] = [];
  for (let target = 0; target < to; target++) {
    const start = target * scale;
    const end = start + scale;
    const cell = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) found.push({ to: target, from: first - 1, weight: Math.fround((first - start) / cell) });
    for (let at = first; at < last; at++) found.push({ to: target, from: at, weight: Math.fround(1 / cell) });
    if (end - last > 1e-3) {
      const weight = Math.fround(Math.min(Math.min(end - last, 1), cell) / cell);
      found.push({ to: target, from: last, weight });
    }
  }
  return found;
}

/** Sums in single precision, row by row, as OpenCV forms them. */
function areas(plane: Plane, height: number, width: number, finished: (row: number, sums: Float32Array) => void): void {
  const columns = shares(plane.width, width);
  const to = Int32Array.from(columns, (share) => share.to);
  const from = Int32Array.from(columns, (share) => share.from);
  const weights = Float32Array.from(columns, (share) => share.weight);
  const line = new Float32Array(width);
  const sums = new Float32Array(width);
  let current = 0;
  for (const { to: row, from: source, weight } of shares(plane.height, height)) {
    if (row !== current) {
      finished(current, sums);
      sums.fill(0);
      current = row;
    }
    line.fill(0);
    const start = source * plane.width;
    for (let k = 0; k < to.length; k++) line[to[k]] += Math.fround(plane.data[start + from[k]] * weights[k]);
    for (let column = 0; column < width; column++) sums[column] += Math.fround(weight * line[column]);
  }
  finished(current, sums);
}

interface Steps {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly first: Int32Array;
  readonly second: Int32Array;
}

/** The two pixels that each pixel of a longer line lies between, and their weights of 11 bits. */
function steps(from: number, to: number, clamped: boolean): Steps {
  const scale = 1 / (to / from);
  const found = {
    low: new Int32Array(to),
    high: new Int32Array(to),
    first: new Int32Array(to),
    second: new Int32Array(to),
  };
  for (let target = 0; target < to; target++) {
    const place = Math.fround((target + 0.5) * scale - 0.5);
    let low = Math.floor(place);
    let part = Math.fround(place - low);
    if (clamped && low < 0) [low, part] = [0, 0];
    if (clamped && low >= from - 1) [low, part] = [from - 1, 0];
    found.low[target] = Math.min(Math.max(low, 0), from - 1);
    found.high[target] = Math.min(Math.max(low + 1, 0), from - 1);
    found.first[target] = roundEven(Math.fround(Math.fround(1 - part) * 2048));
    found.second[target] = roundEven(Math.fround(part * 2048));
  }
  return found;
}

/** A larger copy, linear between pixels. */
export function grown(plane: Plane<Uint8Array>, [height, width]: Size): Plane<Uint8Array> {
  const across = steps(plane.width, width, true);
  const down = steps(plane.height, height, false);
  const lines = new Int32Array(plane.height * width);
  for (let row = 0; row < plane.height; row++) {
    const start = row * plane.width;
    for (let column = 0; column < width; column++) {
      lines[row * width + column] =
        plane.data[start + across.low[column]] * across.first[column] +
        plane.data[start + across.high[column]] * across.second[column];
    }
  }
  const data = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) {
    const [top, bottom] = [down.low[row] * width, down.high[row] * width];
    const [first, second] = [down.first[row], down.second[row]];
    for (let column = 0; column < width; column++) {
      const above = (first * (lines[top + column] >> 4)) >> 16;
      const below = (second * (lines[bottom + column] >> 4)) >> 16;
      data[row * width + column] = Math.min(255, Math.max(0, (above + below + 2) >> 2));
    }
  }
  return { data, height, width };
}

interface Mix {
  readonly first: Int32Array;
  readonly weights: Float64Array[];
}

/** Beyond this factor a line that shrinks is averaged; below it is interpolated. */
const SHRINK = 1.5;

function mixes(from: number, to: number): Mix {
  const scale = from / to;
  const found: Mix = { first: new Int32Array(to), weights: [] };
  for (let target = 0; target < to; target++) {
    let low = target * scale;
    let high = Math.min((target + 1) * scale, from);
    if (scale <= SHRINK) low = high = Math.min(Math.max((target + 0.5) * scale - 0.5, 0), from - 1);
    const first = Math.floor(low);
    const last = scale > SHRINK ? Math.ceil(high) - 1 : Math.min(first + 1, from - 1);
    const weights = new Float64Array(last - first + 1);
    let total = 0;
    for (let k = 0; k < weights.length; k++) {
      const at = first + k;
      const weight = scale > SHRINK ? Math.min(high, at + 1) - Math.max(low, at) : 1 - Math.abs(low - at);
      weights[k] = Math.max(weight, 0);
      total += weights[k];
    }
    found.first[target] = first;
    found.weights.push(weights.map((weight) => weight / total));
  }
  return found;
}

/** A plane of probabilities at another size, handed over row by row: linear, averaged where it shrinks much. */
export function eachRow(
  plane: Plane<Float32Array>,
  [height, width]: Size,
  take: (row: number, values: Float32Array) => void,
): void {
  const down = mixes(plane.height, height);
  const across = mixes(plane.width, width);
  const line = new Float32Array(plane.width);
  const values = new Float32Array(width);
  for (let row = 0; row < height; row++) {
    const weights = down.weights[row];
    for (let column = 0; column < plane.width; column++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * plane.data[(down.first[row] + k) * plane.width + column];
      line[column] = sum;
    }
    if (plane.width === width) {
      take(row, line);
      continue;
    }
    for (let column = 0; column < width; column++) {
      const shares = across.weights[column];
      const first = across.first[column];
      let sum = 0;
      for (let k = 0; k < shares.length; k++) sum += shares[k] * line[first + k];
      values[column] = sum;
    }
    take(row, values);
  }
}
