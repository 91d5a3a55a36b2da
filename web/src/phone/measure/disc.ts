// The optic disc and its cup, measured as catenary.measures.disc does: outlines made robust, ratios, rim by direction.

import { boundingBox, count, cut, roundEven, type Box, type Photo, type Plane } from "./arrays.ts";
import type { Side } from "./fundus.ts";
import { fillHoles, gaussian, largestOf, partAs, partsOf, squareDistances } from "./planes.ts";

type Mask = Plane<Uint8Array>;

/** Lengths in pixels; null where not defined. */
export interface Disc {
  /** Keys of messages: what stands in the way of an answer, or of a part of it. */
  readonly findings: readonly string[];
  /** Parts that could be the disc. */
  readonly parts: number;
  readonly ratioVertical: number | null;
  readonly ratioHorizontal: number | null;
  readonly area: number | null;
  readonly height: number | null;
  readonly width: number | null;
  readonly rim: { inferior: number; superior: number; nasal: number | null; temporal: number | null } | null;
  /** Least rim over the disc's diameter there, and where: degrees clockwise from straight up. */
  readonly thinnest: number | null;
  readonly thinnestAt: number | null;
  readonly isnt: boolean | null;
  readonly centre: readonly [row: number, column: number] | null;
  readonly eye: Side | null;
}

export interface Margin {
  readonly pixels: number;
  readonly diameters: number;
}

const SMOOTH = 0.08;
const SIMILAR = 0.3;
const RAYS = 360;
const POINTS = 256;
const HOUR = 30;
const THINNEST = 10;
const FILLED = 0.8;
const LONG = 1.6;

const NOTHING: Omit<Disc, "findings" | "parts"> = {
  ratioVertical: null,
  ratioHorizontal: null,
  area: null,
  height: null,
  width: null,
  rim: null,
  thinnest: null,
  thinnestAt: null,
  isnt: null,
  centre: null,
  eye: null,
};

/** Measure a disc (the cup included) and its cup. */
export function discOf(whole: Mask, cup: Mask, eye: Side | null): Disc {
  const { parts, main } = mainPart(whole);
  if (!parts) return { ...NOTHING, findings: ["disc.none"], parts };
  if (parts > 1) return { ...NOTHING, findings: ["disc.several"], parts };
  const isCut = touchesBorder(main);
  const box = boundingBox(main, 4 + Math.floor(Math.max(main.height, main.width) / 50))!;
  const disc = cut(main, box);
  const within = cut(cup, box);
  for (let at = 0; at < within.data.length; at++) within.data[at] &= disc.data[at];
  const hollow = mainPart(within).main;
  const hasCup = count(hollow.data) > 0;
  const centre = middleOf(disc);
  const soft = smoothed(disc);
  const softCup = smoothed(hollow);
  const radius = lengths(soft, centre);
  const inner = lengths(softCup, centre);
  const rim = radius.map((length, turn) => length - inner[turn]);
  const share = averaged(rim.map((width, turn) => width / (radius[turn] + radius[(turn + RAYS / 2) % RAYS])), THINNEST);
  const width = averaged(rim, HOUR);
  let thinnest = 0;
  for (let turn = 1; turn < RAYS; turn++) if (share[turn] < share[thinnest]) thinnest = turn;
  const [up, right, down, left] = [width[0], width[90], width[180], width[270]];
  const nasal = eye === "right" ? right : eye === "left" ? left : null;
  const temporal = eye === "right" ? left : eye === "left" ? right : null;
  const outline = outlineOf(radius);
  const cupOutline = outlineOf(hasCup ? lengths(softCup, middleOf(hollow)) : new Float64Array(RAYS));
  const findings: string[] = [];
  if (isCut) findings.push("disc.cut");
  if (!hasCup) findings.push("disc.cupless");
  if (eye === null) findings.push("disc.eye");
  return {
    findings,
    parts: 1,
    ratioVertical: extent(cupOutline.y) / extent(outline.y),
    ratioHorizontal: extent(cupOutline.x) / extent(outline.x),
    area: areaOf(outline),
    height: extent(outline.y),
    width: extent(outline.x),
    rim: { inferior: down, superior: up, nasal, temporal },
    thinnest: share[thinnest],
    thinnestAt: hasCup ? thinnest : null,
    isnt: nasal === null || temporal === null ? null : down >= up && up >= nasal && nasal >= temporal,
    centre: [centre[0] + box.top, centre[1] + box.left],
    eye,
  };
}

/** Key of the message why what was found cannot be a disc by its shape; null where it can. */
export function shapeFault(disc: Disc): string | null {
  const [height, width, area] = [disc.height ?? 0, disc.width ?? 0, disc.area ?? 0];
  if (!height || !width || area < ((FILLED * Math.PI) / 4) * height * width) return "disc.shape";
  return Math.max(height, width) <= LONG * Math.min(height, width) ? null : "disc.long";
}

/** The box around a mask and a margin; what lies further from it than the margin is black. */
export function around(photo: Photo, mask: Mask, margin: Margin): Photo {
  const reach = margin.pixels || roundEven(margin.diameters * 2 * Math.sqrt(count(mask.data) / Math.PI));
  const box = boundingBox(mask, reach)!;
  const away = squareDistances(cut(mask, box));
  const size = { height: photo.height, width: photo.width };
  const planes = photo.planes.map((data) => {
    const part = cut({ ...size, data }, box).data;
    for (let at = 0; at < part.length; at++) if (away[at] > reach * reach) part[at] = 0;
    return part;
  });
  return { planes: planes as unknown as Photo["planes"], height: box.bottom - box.top, width: box.right - box.left };
}

/** Where disc and cup are in a label map, by the last words of the names of its classes and regions. */
export function planesOf(
  mask: Mask,
  names: readonly string[],
  regions: Readonly<Record<string, readonly number[]>>,
): { whole: Mask; cup: Mask } | null {
  const members = new Map<string, readonly number[]>();
  names.forEach((name, index) => members.set(lastWord(name), [index]));
  for (const [name, classes] of Object.entries(regions)) members.set(lastWord(name), classes);
  const ring = members.get("disc") ?? members.get("rim");
  const hollow = members.get("cup");
  if (!ring || !hollow) return null;
  const size = { height: mask.height, width: mask.width };
  const cup = { ...size, data: mask.data.map((value) => (hollow.includes(value) ? 1 : 0)) };
  return { cup, whole: { ...size, data: mask.data.map((value, at) => (ring.includes(value) || cup.data[at] ? 1 : 0)) } };
}

function lastWord(name: string): string {
  return name.toLowerCase().replace(/[0-9_\- ]+$/, "").split(/[^a-z]+/).at(-1) ?? "";
}

/** How many parts are about as large as the largest, and that one with its holes filled. */
function mainPart(mask: Mask): { parts: number; main: Mask } {
  const found = partsOf(mask, 8);
  if (!found.sizes.length) return { parts: 0, main: mask };
  const largest = largestOf(found);
  const main = { height: mask.height, width: mask.width, data: partAs(found, largest) };
  fillHoles(main);
  const least = SIMILAR * found.sizes[largest - 1];
  return { parts: found.sizes.filter((size) => size >= least).length, main };
}

function touchesBorder({ data, height, width }: Mask): boolean {
  for (let column = 0; column < width; column++) if (data[column] || data[(height - 1) * width + column]) return true;
  for (let row = 0; row < height; row++) if (data[row * width] || data[row * width + width - 1]) return true;
  return false;
}

function middleOf({ data, width }: Mask): [number, number] {
  let [row, column, total] = [0, 0, 0];
  for (let at = 0; at < data.length; at++) {
    if (!data[at]) continue;
    row += Math.floor(at / width);
    column += at % width;
    total++;
  }
  return [row / total, column / total];
}

function smoothed(mask: Mask): Plane<Float32Array> {
  return gaussian(mask, Math.max(0.3, SMOOTH * Math.sqrt(count(mask.data) / Math.PI)));
}

/** How much of each ray from a place lies where a plane is above 1/2. */
function lengths(soft: Plane<Float32Array>, [row, column]: readonly [number, number]): Float64Array {
  const { data, height, width } = soft;
  const inside = { height, width, data: Uint8Array.from(data, (value) => (value > 0.5 ? 1 : 0)) };
  const box: Box = boundingBox(inside) ?? { top: 0, bottom: 0, left: 0, right: 0 };
  const corners = [box.top, box.bottom].flatMap((y) => [box.left, box.right].map((x) => Math.hypot(y - row, x - column)));
  const reach = Math.max(...corners) + 1;
  const level = (y: number, x: number): number => {
    if (y < 0 || x < 0 || y > height - 1 || x > width - 1) return -0.5;
    const [top, left] = [Math.min(Math.floor(y), Math.max(height - 2, 0)), Math.min(Math.floor(x), Math.max(width - 2, 0))];
    const [down, right] = [y - top, x - left];
    const at = top * width + left;
    const below = at + (height > 1 ? width : 0);
    const aside = width > 1 ? 1 : 0;
    const upper = data[at] * (1 - right) + data[at + aside] * right;
    return Math.fround(upper * (1 - down) + (data[below] * (1 - right) + data[below + aside] * right) * down) - 0.5;
  };
  const found = new Float64Array(RAYS);
  const step = reach / (POINTS - 1);
  for (let turn = 0; turn < RAYS; turn++) {
    const angle = (turn * Math.PI) / 180;
    const [dy, dx] = [-Math.cos(angle), Math.sin(angle)];
    let before = level(row, column);
    let sum = 0;
    for (let k = 1; k < POINTS; k++) {
      const now = level(row + dy * step * k, column + dx * step * k);
      const top = Math.max(before, now);
      const low = Math.min(before, now);
      sum += Math.min(Math.max(top / Math.max(top - low, 1e-12), 0), 1);
      before = now;
    }
    // The blur has drawn the outline in by half its variance over the radius.
    found[turn] = (sum * step) / (1 - SMOOTH ** 2 / 2);
  }
  return found;
}

function outlineOf(radius: Float64Array): { x: Float64Array; y: Float64Array } {
  return {
    y: radius.map((length, turn) => -Math.cos((turn * Math.PI) / 180) * length),
    x: radius.map((length, turn) => Math.sin((turn * Math.PI) / 180) * length),
  };
}

function areaOf({ x, y }: { x: Float64Array; y: Float64Array }): number {
  let sum = 0;
  for (let at = 0; at < RAYS; at++) {
    const before = (at + RAYS - 1) % RAYS;
    sum += x[before] * y[at] - x[at] * y[before];
  }
  return Math.abs(sum) / 2;
}

function extent(values: Float64Array): number {
  return Math.max(...values) - Math.min(...values);
}

/** Means over an arc around each ray. */
function averaged(values: Float64Array, degrees: number): Float64Array {
  return values.map((_, turn) => {
    let sum = 0;
    for (let k = -degrees / 2; k <= degrees / 2; k++) sum += values[(turn + k + RAYS) % RAYS];
    return sum / (degrees + 1);
  });
}
