// Answers to what Python asks: tests/test_phone.py writes cases into a folder and compares the answers with its own.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import decodeJpeg, { init } from "@jsquash/jpeg/decode";
import { expect, test } from "vitest";
import type { Photo, Plane } from "./measure/arrays.ts";
import { around, discOf, planesOf, shapeFault } from "./measure/disc.ts";
import { eyeFromDisc, eyeOfName, qualityOf } from "./measure/fundus.ts";
import { grown, shrunkLevels } from "./measure/resize.ts";
import { calibrated, likenessOf, span } from "./model/judge.ts";
import { doubts, framed } from "./model/prepare.ts";
import { labelled, probabilities } from "./model/segment.ts";
import { PhotoError, readPhoto } from "./photo.ts";

const folder = process.env.CATENARY_GOLDENS ?? "";
type Case = { id: string; ask: string; [key: string]: any };

function raw(name: string): ArrayBuffer {
  const data = readFileSync(join(folder, name));
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer;
}

/** An array that Python wrote: its file, its shape. */
function levels({ file, shape }: { file: string; shape: number[] }): Plane<Uint8Array> {
  const [height, width] = shape.slice(-2);
  return { data: new Uint8Array(raw(file)), height, width };
}

function photo(array: { file: string; shape: number[] }): Photo {
  const { data, height, width } = levels(array);
  const planes = [0, 1, 2].map((k) => data.subarray(k * height * width, (k + 1) * height * width));
  return { planes: planes as unknown as Photo["planes"], height, width };
}

const joined = (found: Photo) => [found.height, found.width, ...found.planes.map((plane) => [...plane])];

/** The network of the cases: the mean of the channels, and how far down and to the right a pixel lies, in 0..1. */
const echo = async (_: unknown, x: Float32Array, height: number, width: number) => {
  const each = height * width;
  const place = (at: number) => Math.floor(at / width) / height - (0.5 * (at % width)) / width;
  const mean = Float32Array.from({ length: each }, (_, at) => (x[at] + x[each + at] + x[2 * each + at]) / 3 + place(at));
  const probability = new Float32Array(2 * each);
  mean.forEach((value, at) => {
    probability[at] = 1 / (1 + Math.exp(-value));
    probability[each + at] = 1 / (1 + Math.exp(1 - value));
  });
  return { probability, dims: [1, 2, height, width], features: null };
};

const answers: Record<string, (given: Case) => unknown> = {
  shrink: (given) => [...shrunkLevels(levels(given.image), given.size).data],
  grow: (given) => [...grown(levels(given.image), given.size).data],
  quality: (given) => qualityOf(photo(given.image)),
  eye: (given) => [eyeOfName(given.name), eyeFromDisc(given.column, given.field)],
  disc: (given) => {
    const { whole, cup } = planesOf(levels(given.mask), given.names, given.regions)!;
    const found = discOf(whole, cup, given.eye);
    return { ...found, fault: found.parts === 1 ? shapeFault(found) : null };
  },
  around: (given) => joined(around(photo(given.image), levels(given.mask), given.margin)),
  framed: (given) => [...framed(photo(given.image), given.input)],
  segment: async (given) => {
    const [image, size] = [photo(given.image), given.image.shape.slice(-2)];
    const planes = await probabilities(image, given.model, echo);
    return [...labelled(planes, size, given.model.output).data];
  },
  doubts: (given) => doubts(photo(given.image), given.model),
  range: (given) => span(given.score, given.probability, given.judged),
  calibrated: (given) => calibrated(given.score, given.calibration),
  likeness: (given) => likenessOf(new Float32Array(raw(given.features.file)), given.familiar),
  read: async (given) => {
    const other = () => Promise.reject(new Error("no decoder"));
    try {
      return joined(await readPhoto(raw(given.file), { jpeg: decodeJpeg, other }));
    } catch (error) {
      if (error instanceof PhotoError) return error.key;
      throw error;
    }
  },
};

test.skipIf(!folder || !existsSync(join(folder, "cases.json")))("answers are given", { timeout: 120_000 }, async () => {
  globalThis.ImageData ??= class {
    constructor(
      readonly data: Uint8ClampedArray,
      readonly width: number,
      readonly height: number,
    ) {}
  } as unknown as typeof ImageData;
  const wasm = readFileSync("node_modules/@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm");
  await init(await WebAssembly.compile(wasm));
  const cases: Case[] = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
  const found: Record<string, unknown> = {};
  for (const given of cases) found[given.id] = await answers[given.ask](given);
  writeFileSync(join(folder, "answers.json"), JSON.stringify(found));
  expect(Object.keys(found)).toHaveLength(cases.length);
});
