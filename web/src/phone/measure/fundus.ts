// Is this a photo of the back of the eye, and can it be used? And whose eye is it?
// The same arithmetic as catenary.measures.fundus, on a copy of at most 256 x 256 pixels.

import { count, mean, median, percentiles, picked, roundEven, type Photo, type Plane } from "./arrays.ts";
import { boxMean, eroded, largestOf, majority, partAs, partsOf } from "./planes.ts";
import { shrunk, shrunkLevels } from "./resize.ts";

export type Side = "right" | "left";
export type Verdict = "good" | "usable" | "reject";

/** The round field of view, in pixels of the photo. */
export interface Field {
  readonly row: number;
  readonly column: number;
  readonly radius: number;
}

/** What a photo's quality is judged by; each but the view lies from 0 to about 1. */
export interface Numbers {
  view: number;
  exposure: number;
  light: number;
  contrast: number;
  sharpness: number;
  grain: number;
  glare: number;
  evenness: number;
}

export interface Quality {
  readonly fundus: boolean;
  readonly field: Field | null;
  readonly numbers: Numbers | null;
  readonly verdict: Verdict;
  /** Keys of messages, the worst first. */
  readonly reasons: readonly string[];
}

const SIDE = 256;
const CROP = 112;
const LIT = 0.12;
const LEAST = 7;
const BINS = 120;
const ROUND = 0.03;
const ON = 0.4;
const WITHIN = 0.95;
const COLOURED = 0.85;
const BLUE = 0.47;
const WHITE = 170;
const FULL = 0.9;
const STRUCTURE = 0.05;
const GRAIN = 0.4;
/** A photo is judged from so many pixels a side on. */
export const SMALLEST = 32;

/** Number, from where a photo is only usable, from where it is rejected, reason; where reject is larger, less is better. */
export const LIMITS: readonly (readonly [keyof Numbers, number, number, string])[] = [
  ["exposure", 0.14, 0.06, "quality.dark"],
  ["light", 0.65, 0.8, "quality.bright"],
  ["view", 0.6, 0.3, "quality.far"],
  ["sharpness", 0.16, 0.08, "quality.blurred"],
  ["contrast", 0.06, 0.03, "quality.hazy"],
  ["grain", 0.15, 0.4, "quality.grainy"],
  ["grain", 0.012, 0, "quality.compressed"],
  ["glare", 0.03, 0.15, "quality.glare"],
  ["evenness", 0.3, 0.1, "quality.uneven"],
];

interface Small {
  readonly red: Float32Array;
  readonly green: Float32Array;
  readonly blue: Float32Array;
  /** The least of the three colours. */
  readonly least: Float32Array;
  readonly height: number;
  readonly width: number;
}

/** Judge a photo of at least 32 pixels a side. */
export function qualityOf(photo: Photo): Quality {
  const none = { fundus: false, field: null, numbers: null, verdict: "reject" } as const;
  const step = Math.max(1, Math.max(photo.height, photo.width) / SIDE);
  const size = reducedSize(photo, step);
  let small = smallOf(photo.planes.map((data) => Float32Array.from(shrunkLevels({ ...sized(photo), data }, size).data)), size);
  if (percentiles(small.red, [99])[0] < 2 * LEAST) return { ...none, reasons: ["quality.black"] };
  let lit = litOf(small);
  const circle = circleOf(lit);
  if (!circle) {
    const further = reducedSize(small, Math.max(1, Math.max(small.height, small.width) / CROP));
    const from = sized(small);
    small = smallOf([small.red, small.green, small.blue].map((data) => shrunk({ ...from, data }, further).data), further);
    lit = litOf(small);
  }
  const inside = within(circle, 0.93, lit.height, lit.width);
  const numbers = numbersOf(small, inside);
  const both = Uint8Array.from(inside, (value, at) => value & lit.data[at]);
  const filled =
    count(lit.data) / lit.data.length > FULL && numbers.contrast > STRUCTURE && numbers.grain < GRAIN;
  if (!coloured(small, both) || !(circle || filled)) return { ...none, reasons: ["quality.strange"] };
  const field = circle && {
    row: (circle.row + 0.5) * step - 0.5,
    column: (circle.column + 0.5) * step - 0.5,
    radius: circle.radius * step,
  };
  numbers.view = field ? field.radius / (Math.min(photo.height, photo.width) / 2) : 1;
  const bad: string[] = [];
  const poor: string[] = [];
  for (const [name, usable, reject, reason] of LIMITS) {
    const sign = usable > reject ? 1 : -1;
    if (sign * numbers[name] < sign * reject) bad.push(reason);
    else if (sign * numbers[name] < sign * usable) poor.push(reason);
  }
  const verdict = bad.length ? "reject" : poor.length ? "usable" : "good";
  return { fundus: true, field, numbers, verdict, reasons: [...bad, ...poor] };
}

/** Whose eye a file shows by its name: OD, R or right, OS, L or left as a word of it. */
export function eyeOfName(stem: string): Side | null {
  const words = new Set((stem.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+/g) ?? []).map((word) => word.toLowerCase()));
  const right = ["od", "r", "right"].some((word) => words.has(word));
  const left = ["os", "l", "left"].some((word) => words.has(word));
  return right === left ? null : right ? "right" : "left";
}

/** Whose eye an upright photo shows by the place of its disc; null near the middle. */
export function eyeFromDisc(column: number, field: Field): Side | null {
  const away = (column - field.column) / field.radius;
  return Math.abs(away) < 0.3 ? null : away > 0 ? "right" : "left";
}

function sized({ height, width }: { height: number; width: number }) {
  return { height, width };
}

function reducedSize({ height, width }: { height: number; width: number }, step: number): [number, number] {
  return [Math.max(1, roundEven(height / step)), Math.max(1, roundEven(width / step))];
}

function smallOf([red, green, blue]: Float32Array[], [height, width]: [number, number]): Small {
  const least = red.map((value, at) => Math.min(value, green[at], blue[at]));
  return { red, green, blue, least, height, width };
}

/** The largest part of the picture that is not dark. */
function litOf(small: Small): Plane<Uint8Array> {
  const limit = Math.fround(Math.max(LEAST, LIT * percentiles(small.red, [99])[0]));
  const bright = { ...sized(small), data: Uint8Array.from(small.red, (value) => (value > limit ? 1 : 0)) };
  const parts = partsOf(majority(bright), 4);
  const data = parts.sizes.length ? partAs(parts, largestOf(parts)) : new Uint8Array(bright.data.length);
  return { ...sized(small), data };
}

interface Point {
  readonly x: number;
  readonly y: number;
}

interface Circle {
  readonly x: number;
  readonly y: number;
  readonly radius: number;
}

/** The circle that most of the outermost lit pixels around the middle of the light lie on. */
function circleOf(lit: Plane<Uint8Array>): Field | null {
  const { data, height, width } = lit;
  const total = count(data);
  if (total < BINS) return null;
  const points = outermost(lit, total);
  if (points.length < BINS / 5) return null;
  const longest = Math.max(height, width);
  let best: Circle | null = null;
  let most = -1;
  for (const parts of [3, 5, 8]) {
    const gap = Math.floor(points.length / parts);
    for (let at = 0; at < points.length; at++) {
      const circle = through(points[at], points[(at + gap) % points.length], points[(at + 2 * gap) % points.length]);
      const likely = circle.radius > 0.15 * longest && circle.radius < 0.75 * longest;
      const share = likely ? points.filter((point) => isOn(point, circle)).length / points.length : 0;
      if (share > most) [best, most] = [likely ? circle : null, share];
    }
  }
  if (!best || most < ON) return null;
  const found = fitted(points.filter((point) => isOn(point, best)));
  const circle = { row: found.y, column: found.x, radius: found.radius + 0.5 };
  const inside = within(circle, 1 + ROUND, height, width);
  let held = 0;
  for (let at = 0; at < data.length; at++) held += data[at] & inside[at];
  return held >= WITHIN * total ? circle : null;
}

/** The last lit pixel of each direction, without those that the picture's border cuts off. */
function outermost(lit: Plane<Uint8Array>, total: number): Point[] {
  const { data, height, width } = lit;
  let [y, x] = [0, 0];
  for (let at = 0; at < data.length; at++) {
    if (!data[at]) continue;
    y += Math.floor(at / width);
    x += at % width;
  }
  [y, x] = [y / total, x / total];
  const last: (Point | undefined)[] = [];
  const reach = new Float64Array(BINS + 1).fill(-1);
  const around = litAround(lit);
  for (let at = 0; at < data.length; at++) {
    if (!data[at] || around[at] >= 9) continue;
    const point = { y: Math.floor(at / width), x: at % width };
    const bin = Math.floor((Math.atan2(point.y - y, point.x - x) / (2 * Math.PI) + 0.5) * BINS);
    const away = Math.hypot(point.x - x, point.y - y);
    if (away >= reach[bin]) [last[bin], reach[bin]] = [point, away];
  }
  return last.filter(
    (point): point is Point =>
      point !== undefined && point.y > 1 && point.y < height - 2 && point.x > 1 && point.x < width - 2,
  );
}

/** How many of the 3 x 3 pixels around each are lit, the border mirrored without its last pixel. */
function litAround({ data, height, width }: Plane<Uint8Array>): Uint8Array {
  const at = (place: number, side: number) => (place < 0 ? Math.min(1, side - 1) : place >= side ? Math.max(side - 2, 0) : place);
  const out = new Uint8Array(data.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let y = row - 1; y <= row + 1; y++) {
        for (let x = column - 1; x <= column + 1; x++) sum += data[at(y, height) * width + at(x, width)];
      }
      out[row * width + column] = sum;
    }
  }
  return out;
}

function isOn(point: Point, circle: Circle): boolean {
  return Math.abs(Math.hypot(point.x - circle.x, point.y - circle.y) - circle.radius) < ROUND * circle.radius;
}

/** The circle through three points; radius 0 where they lie in line. */
function through(a: Point, b: Point, c: Point): Circle {
  const [bx, by, cx, cy] = [b.x - a.x, b.y - a.y, c.x - a.x, c.y - a.y];
  const cross = 2 * (bx * cy - by * cx);
  if (Math.abs(cross) <= 1e-6) return { ...a, radius: 0 };
  const [bb, cc] = [bx * bx + by * by, cx * cx + cy * cy];
  const x = (cy * bb - by * cc) / cross;
  const y = (bx * cc - cx * bb) / cross;
  return { x: a.x + x, y: a.y + y, radius: Math.hypot(x, y) };
}

/** The circle of least algebraic error through points (Kasa 1976). */
function fitted(points: Point[]): Circle {
  const mx = mean(points.map((point) => point.x));
  const my = mean(points.map((point) => point.y));
  let [xx, xy, yy, xz, yz, zz] = [0, 0, 0, 0, 0, 0];
  for (const point of points) {
    const [x, y] = [point.x - mx, point.y - my];
    const z = x * x + y * y;
    [xx, xy, yy] = [xx + x * x, xy + x * y, yy + y * y];
    [xz, yz, zz] = [xz + x * z, yz + y * z, zz + z];
  }
  const det = 2 * (xx * yy - xy * xy);
  const [a, b] = [(xz * yy - yz * xy) / det, (yz * xx - xz * xy) / det];
  return { x: a + mx, y: b + my, radius: Math.sqrt(zz / points.length + a * a + b * b) };
}

/** 1 within a part of the circle's radius; everywhere without a circle. */
function within(circle: Field | null, part: number, height: number, width: number): Uint8Array {
  const out = new Uint8Array(height * width);
  if (!circle) return out.fill(1);
  for (let at = 0; at < out.length; at++) {
    const away = Math.hypot(Math.floor(at / width) - circle.row, (at % width) - circle.column);
    out[at] = away < part * circle.radius ? 1 : 0;
  }
  return out;
}

/** Whether the light that is not white has the colours of a retina: much red, some green, less blue. */
function coloured(small: Small, inside: Uint8Array): boolean {
  const seen = inside.map((value, at) => (value && small.least[at] <= WHITE ? 1 : 0));
  const [red, green, blue] = [small.red, small.green, small.blue].map((plane) => picked(plane, seen));
  if (red.length < count(inside) / 2 || !red.length) return false;
  let [redder, greener] = [0, 0];
  for (let k = 0; k < red.length; k++) {
    if (red[k] >= Math.fround(Math.fround(1.05) * green[k])) redder++;
    if (green[k] >= Math.fround(Math.fround(0.95) * blue[k])) greener++;
  }
  const share = Math.min(redder, greener) / red.length;
  return share >= COLOURED && median(blue.map((value, k) => Math.fround(value / (red[k] + 1)))) <= BLUE;
}

/** Those of `Quality` but the view, in the field. */
function numbersOf(small: Small, inside: Uint8Array): Numbers {
  const { red, green, height, width } = small;
  const plane = (data: Float32Array): Plane<Float32Array> => ({ data, height, width });
  const area = count(inside);
  const weight = Float32Array.from(inside);
  const bright = red.map((value, at) => (value + green[at]) / 2);
  const side = 2 * Math.floor(0.12 * Math.sqrt(area / Math.PI)) + 1;
  const lit = boxMean(plane(green.map((value, at) => value * weight[at])), side).data;
  const known = boxMean(plane(weight), side).data;
  const level = mean(picked(green, inside)) + 2;
  const detail = green.map((value, at) => (inside[at] ? (value - lit[at] / Math.max(known[at], 1e-3)) / level : 0));
  const eroding = eroded({ data: inside, height, width }, 9);
  const core = eroding.some((value) => value) ? eroding : inside;
  const smooth = boxMean(plane(detail), 3).data;
  const wide = boxMean(plane(detail), 17).data;
  const fine = picked(detail.map((value, at) => Math.abs(value - smooth[at])), core);
  const coarse = picked(smooth.map((value, at) => Math.abs(value - wide[at])), core);
  const [strong] = percentiles(coarse, [99]);
  const noise = median(fine);
  const edges = Math.sqrt(Math.max(0, percentiles(fine, [99])[0] ** 2 - (3.8 * noise) ** 2));
  const [low, high] = percentiles(picked(smooth, core), [2, 98]);
  const regions = regionsOf(bright, weight, inside, height, width);
  const [dark, light] = percentiles(regions, [10, 90]);
  return {
    view: 1,
    exposure: median(picked(bright, inside)) / 255,
    light: median(picked(green, inside)) / 255,
    contrast: (high - low) / 2,
    sharpness: edges / (strong + 0.02),
    grain: noise / (strong + 1e-3),
    glare: mean(picked(small.least, inside).map((value) => (value > WHITE ? 1 : 0))),
    evenness: dark / Math.max(light, 1e-3),
  };
}

/** Brightness of squares that lie in the field; of its pixels where none does. */
function regionsOf(
  bright: Float32Array,
  weight: Float32Array,
  inside: Uint8Array,
  height: number,
  width: number,
): Float64Array {
  const block = Math.max(2, Math.floor(Math.max(height, width) / 12));
  const found: number[] = [];
  for (let top = 0; top + block <= height; top += block) {
    for (let left = 0; left + block <= width; left += block) {
      let [sum, held] = [0, 0];
      for (let y = top; y < top + block; y++) {
        for (let x = left; x < left + block; x++) {
          sum += bright[y * width + x];
          held += weight[y * width + x];
        }
      }
      if (held / block ** 2 > 0.9) found.push(sum / block ** 2);
    }
  }
  return found.length ? Float64Array.from(found) : picked(bright, inside);
}
