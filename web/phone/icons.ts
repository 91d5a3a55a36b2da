// The icons of the phone page, drawn by code: a chain that hangs from both ends, a U.

import { deflateSync } from "node:zlib";

const PAPER = [11, 95, 145];
const LINE = [255, 255, 255];
/** Half the width of the line, and the radius of the two ends, as shares of the side. */
const THICK = 0.045;
const END = 0.085;

/** A PNG of `side` pixels; with `padded` the drawing keeps to the middle, which every mask of a phone leaves. */
export function icon(side: number, padded: boolean): Buffer {
  const scale = padded ? 0.72 : 1;
  const rows = Buffer.alloc(side * (side * 4 + 1));
  const curve = (x: number) => 0.5 + scale * (0.26 - 0.5 * ((Math.cosh(2.2 * x) - 1) / (Math.cosh(2.2) - 1)));
  const across = 0.27 * scale;
  /** Distance from the chain, by its slope; from its ends where it is over. */
  const away = (x: number, y: number): number => {
    const place = (x - 0.5) / across;
    if (Math.abs(place) > 1) return Math.hypot(x - 0.5 - Math.sign(place) * across, y - curve(1));
    const slope = (-0.5 * scale * 2.2 * Math.sinh(2.2 * place)) / (Math.cosh(2.2) - 1) / across;
    return Math.abs(y - curve(place)) / Math.hypot(1, slope);
  };
  const fromEnd = (x: number, y: number) => Math.hypot(Math.abs(x - 0.5) - across, y - curve(1));
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const [x, y] = [(column + 0.5) / side, (row + 0.5) / side];
      const inside = Math.max(covered(THICK * scale - away(x, y), side), covered(END * scale - fromEnd(x, y), side));
      const at = row * (side * 4 + 1) + 1 + column * 4;
      for (let k = 0; k < 3; k++) rows[at + k] = Math.round(PAPER[k] + (LINE[k] - PAPER[k]) * inside);
      rows[at + 3] = padded ? 255 : Math.round(255 * rounded(x, y, side));
    }
  }
  return png(side, rows);
}

/** How much of a pixel lies inside, from its depth. */
function covered(depth: number, side: number): number {
  return Math.min(1, Math.max(0, depth * side + 0.5));
}

/** A square with round corners. */
function rounded(x: number, y: number, side: number): number {
  const radius = 0.2;
  const [dx, dy] = [Math.max(Math.abs(x - 0.5) - 0.5 + radius, 0), Math.max(Math.abs(y - 0.5) - 0.5 + radius, 0)];
  return covered(radius - Math.hypot(dx, dy), side);
}

function png(side: number, rows: Buffer): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 6, 0, 0, 0], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(name: string, body: Buffer): Buffer {
  const content = Buffer.concat([Buffer.from(name, "latin1"), body]);
  const out = Buffer.alloc(content.length + 8);
  out.writeUInt32BE(body.length, 0);
  content.copy(out, 4);
  out.writeUInt32BE(crc(content), content.length + 4);
  return out;
}

function crc(bytes: Buffer): number {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let k = 0; k < 8; k++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}
