// Connected parts, holes, blurs and distances on planes.

import { boundingBox, cut, roundEven, type Box, type Plane } from "./arrays.ts";

export interface Parts {
  /** Number of each pixel's part, from 1; 0 where the mask is 0. */
  readonly numbers: Int32Array;
  /** Pixels of each part, the first at 0. */
  readonly sizes: number[];
}

/** Connected parts of a mask, with 4 or 8 neighbours, in the order of their first pixels. */
export function partsOf(mask: Plane<Uint8Array>, neighbours: 4 | 8): Parts {
  const { data, height, width } = mask;
  const numbers = new Int32Array(data.length);
  const parent: number[] = [0];
  const root = (label: number): number => {
    while (parent[label] !== label) label = parent[label] = parent[parent[label]];
    return label;
  };
  const joined = (a: number, b: number): number => {
    const [one, other] = [root(a), root(b)];
    return one < other ? (parent[other] = one) : (parent[one] = other);
  };
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const at = row * width + column;
      if (!data[at]) continue;
      let label = 0;
      const meet = (other: number) => {
        if (other) label = label ? joined(label, other) : other;
      };
      if (column > 0) meet(numbers[at - 1]);
      if (row > 0) {
        meet(numbers[at - width]);
        if (neighbours === 8) {
          if (column > 0) meet(numbers[at - width - 1]);
          if (column < width - 1) meet(numbers[at - width + 1]);
        }
      }
      if (!label) parent.push((label = parent.length));
      numbers[at] = label;
    }
  }
  const named = new Int32Array(parent.length);
  const sizes: number[] = [];
  for (let at = 0; at < numbers.length; at++) {
    if (!numbers[at]) continue;
    const own = root(numbers[at]);
    if (!named[own]) named[own] = sizes.push(0);
    numbers[at] = named[own];
    sizes[named[own] - 1]++;
  }
  return { numbers, sizes };
}

/** Number of the largest part, the first of equals. */
export function largestOf(parts: Parts): number {
  let best = 0;
  for (let k = 1; k < parts.sizes.length; k++) if (parts.sizes[k] > parts.sizes[best]) best = k;
  return best + 1;
}

/** 1 where a part has this number. */
export function partAs(parts: Parts, number: number): Uint8Array {
  const data = new Uint8Array(parts.numbers.length);
  for (let at = 0; at < data.length; at++) data[at] = parts.numbers[at] === number ? 1 : 0;
  return data;
}

/** Fill what cannot be reached from outside (4 neighbours), in place. */
export function fillHoles(mask: Plane<Uint8Array>): void {
  const box = boundingBox(mask);
  if (!box) return;
  const part = cut(mask, box);
  const { data, height, width } = part;
  const waiting: number[] = [];
  const reach = (at: number) => {
    if (data[at] === 0) {
      data[at] = 2;
      waiting.push(at);
    }
  };
  for (let column = 0; column < width; column++) {
    reach(column);
    reach((height - 1) * width + column);
  }
  for (let row = 0; row < height; row++) {
    reach(row * width);
    reach(row * width + width - 1);
  }
  while (waiting.length) {
    const at = waiting.pop()!;
    const column = at % width;
    if (column > 0) reach(at - 1);
    if (column < width - 1) reach(at + 1);
    if (at >= width) reach(at - width);
    if (at < data.length - width) reach(at + width);
  }
  paste(mask, box, (at) => (data[at] === 2 ? 0 : 1));
}

function paste(mask: Plane<Uint8Array>, box: Box, value: (at: number) => number): void {
  let at = 0;
  for (let row = box.top; row < box.bottom; row++) {
    for (let column = box.left; column < box.right; column++) mask.data[row * mask.width + column] = value(at++);
  }
}

/** A mask by the majority of 5 x 5 pixels, the border going on. */
export function majority(mask: Plane<Uint8Array>): Plane<Uint8Array> {
  const { data, height, width } = mask;
  const lines = new Uint8Array(data.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let x = -2; x <= 2; x++) sum += data[row * width + Math.min(Math.max(column + x, 0), width - 1)];
      lines[row * width + column] = sum;
    }
  }
  const out = new Uint8Array(data.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let y = -2; y <= 2; y++) sum += lines[Math.min(Math.max(row + y, 0), height - 1) * width + column];
      out[row * width + column] = sum >= 13 ? 1 : 0;
    }
  }
  return { data: out, height, width };
}

/** Place of a pixel beyond the border, mirrored: `edge` 1 repeats the last pixel (cba|abc), 0 does not (dcb|abc). */
export function mirrored(place: number, side: number, edge: 0 | 1): number {
  if (side === 1) return 0;
  const period = edge ? 2 * side : 2 * (side - 1);
  const folded = ((place % period) + period) % period;
  return Math.min(folded, period - folded - edge);
}

/** Means over boxes of odd `side`, the border mirrored with its last pixel. */
export function boxMean(plane: Plane<Float32Array>, side: number): Plane<Float32Array> {
  const { data, height, width } = plane;
  const half = (side - 1) / 2;
  const lines = new Float64Array(data.length);
  const columns = Int32Array.from({ length: width + side }, (_, k) => mirrored(k - half, width, 1));
  for (let row = 0; row < height; row++) {
    const start = row * width;
    let sum = 0;
    for (let k = 0; k < side; k++) sum += data[start + columns[k]];
    for (let column = 0; column < width; column++) {
      lines[start + column] = sum;
      sum += data[start + columns[column + side]] - data[start + columns[column]];
    }
  }
  const rows = Int32Array.from({ length: height + side }, (_, k) => mirrored(k - half, height, 1));
  const out = new Float32Array(data.length);
  const sums = new Float64Array(width);
  for (let k = 0; k < side; k++) for (let c = 0; c < width; c++) sums[c] += lines[rows[k] * width + c];
  for (let row = 0; row < height; row++) {
    const [comes, goes] = [rows[row + side] * width, rows[row] * width];
    for (let c = 0; c < width; c++) {
      out[row * width + c] = sums[c] / (side * side);
      sums[c] += lines[comes + c] - lines[goes + c];
    }
  }
  return { data: out, height, width };
}

/** 1 where the whole square of odd `side` around a pixel is 1; what lies beyond the border does not count. */
export function eroded(mask: Plane<Uint8Array>, side: number): Uint8Array {
  const { data, height, width } = mask;
  const half = (side - 1) / 2;
  const lines = new Uint8Array(data.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let all = 1;
      for (let x = Math.max(0, column - half); x <= Math.min(width - 1, column + half); x++) all &= data[row * width + x];
      lines[row * width + column] = all;
    }
  }
  const out = new Uint8Array(data.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let all = 1;
      for (let y = Math.max(0, row - half); y <= Math.min(height - 1, row + half); y++) all &= lines[y * width + column];
      out[row * width + column] = all;
    }
  }
  return out;
}

/** A plane blurred by a Gaussian, its border going on. */
export function gaussian(mask: Plane<Uint8Array>, sigma: number): Plane<Float32Array> {
  const { height, width } = mask;
  const side = roundEven(sigma * 8 + 1) | 1;
  const half = (side - 1) / 2;
  const bell = Float64Array.from({ length: side }, (_, k) => Math.exp((-0.5 * (k - half) ** 2) / sigma ** 2));
  const total = bell.reduce((a, b) => a + b);
  const kernel = Float32Array.from(bell, (value) => value / total);
  // Of a line of 0 and 1 the weights of each run of 1 are a difference of two sums; runs at the border go on.
  const upTo = new Float64Array(side + 1);
  for (let k = 0; k < side; k++) upTo[k + 1] = upTo[k] + kernel[k];
  const clipped = (k: number) => upTo[Math.min(Math.max(k, 0), side)];
  const lines = new Float32Array(mask.data.length);
  for (let row = 0; row < height; row++) {
    const start = row * width;
    for (let first = 0; first < width; first++) {
      if (!mask.data[start + first]) continue;
      let end = first + 1;
      while (end < width && mask.data[start + end]) end++;
      for (let column = 0; column < width; column++) {
        const low = first === 0 ? 0 : clipped(first - column + half);
        const high = end === width ? upTo[side] : clipped(end - column + half);
        lines[start + column] += high - low;
      }
      first = end;
    }
  }
  const out = new Float32Array(mask.data.length);
  const sums = new Float64Array(width);
  for (let row = 0; row < height; row++) {
    sums.fill(0);
    for (let k = 0; k < side; k++) {
      const start = Math.min(Math.max(row + k - half, 0), height - 1) * width;
      const weight = kernel[k];
      for (let column = 0; column < width; column++) sums[column] += weight * lines[start + column];
    }
    out.set(sums, row * width);
  }
  return { data: out, height, width };
}

/** Square of the distance of each pixel from the next one that is not 0 (Felzenszwalb and Huttenlocher 2012). */
export function squareDistances(mask: Plane<Uint8Array>): Float64Array {
  const { data, height, width } = mask;
  const far = (height + width) ** 2;
  const found = Float64Array.from(data, (value) => (value ? 0 : far));
  const longest = Math.max(height, width);
  const line = new Float64Array(longest);
  for (let column = 0; column < width; column++) {
    for (let row = 0; row < height; row++) line[row] = found[row * width + column];
    lowest(line, height, (row, value) => (found[row * width + column] = value));
  }
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) line[column] = found[row * width + column];
    lowest(line, width, (column, value) => (found[row * width + column] = value));
  }
  return found;
}

/** The lower envelope of parabolas that stand on a line of numbers. */
function lowest(line: Float64Array, length: number, take: (at: number, value: number) => void): void {
  const feet = new Int32Array(length);
  const borders = new Float64Array(length + 1);
  let last = 0;
  borders[0] = -Infinity;
  borders[1] = Infinity;
  for (let q = 1; q < length; q++) {
    const meets = (p: number) => (line[q] + q * q - (line[p] + p * p)) / (2 * q - 2 * p);
    let border = meets(feet[last]);
    while (border <= borders[last]) border = meets(feet[--last]);
    feet[++last] = q;
    borders[last] = border;
    borders[last + 1] = Infinity;
  }
  for (let q = 0, k = 0; q < length; q++) {
    while (borders[k + 1] < q) k++;
    take(q, (q - feet[k]) ** 2 + line[feet[k]]);
  }
}
