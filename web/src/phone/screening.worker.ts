// The worker: keeps the models, screens photos, one at a time, so that the page stays quick.

import decodeJpeg, { init } from "@jsquash/jpeg/decode";
import jpegWasm from "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm?url";
import type { Photo } from "./measure/arrays.ts";
import { modelsOf, type Bundle } from "./model/bundle.ts";
import { Networks } from "./network.ts";
import { outlinesOf } from "./outline.ts";
import { photoOf, PhotoError, readPhoto, type Pixels } from "./photo.ts";
import { screen, unanswered, type Screened } from "./screen.ts";
import { Store, StoreError, type Offer } from "./store.ts";
import type { Asked, Finding, Picture, Said } from "./talk.ts";

/** Longest side of the picture that is handed back to be shown. */
const SHOWN = 1280;

const networks = new Networks();
let store: Store;
let bundle: Bundle | null = null;
let jpeg: Promise<unknown> | null = null;
let queue = Promise.resolve();

const say = (said: Said) => postMessage(said);

addEventListener("message", ({ data }: MessageEvent<Asked>) => {
  queue = queue.then(() => answer(data)).catch((error: unknown) => fail(error, data.ask));
});

function fail(error: unknown, during: Asked["ask"]): void {
  if (error instanceof StoreError) say({ say: "failed", key: error.key, values: error.values, during });
  else say({ say: "failed", key: "failed", values: { why: String(error) }, during });
}

async function answer(asked: Asked): Promise<void> {
  if (asked.ask === "open") await open(asked.base, asked.token);
  else if (asked.ask === "fetch") await change(asked.offer);
  else await screenOne(asked.name, asked.picture);
}

/** Open what is kept at once; without it what the server offers first. News are welcome, but not needed. */
async function open(base: string, token: string): Promise<void> {
  store = new Store(base, token);
  const kept = await store.kept();
  if (kept) await use(kept);
  const offers = await store.offers().catch((error: unknown) => {
    if (kept) return null;
    throw error;
  });
  if (!offers) return;
  if (!offers.length && !kept) throw new StoreError("models.none");
  if (!kept) await change(offers[0]);
  say({ say: "offers", offers });
}

async function change(offer: Offer): Promise<void> {
  await use(await store.fetch(offer, (done, total) => say({ say: "fetching", done, total })));
}

async function use(wanted: Bundle): Promise<void> {
  const files = await Promise.all(modelsOf(wanted).map(async (model) => ({ model, bytes: await store.bytes(model) })));
  await networks.clear();
  for (const { model, bytes } of files) await networks.add(model, bytes);
  bundle = wanted;
  say({ say: "open", bundle: wanted });
}

async function screenOne(name: string, picture: Picture): Promise<void> {
  if (!bundle) throw new StoreError("models.none");
  const start = performance.now();
  say({ say: "stage", stage: "reading", share: 0 });
  let photo: Photo | null = null;
  let found: Screened;
  try {
    photo = await photoIn(picture);
    say({ say: "stage", stage: "reading", share: 1 });
    found = await screen(photo, name, bundle, networks.run, (stage, share) => say({ say: "stage", stage, share }));
  } catch (error) {
    if (!(error instanceof PhotoError)) throw error;
    found = unread(name, error, bundle);
  }
  const seconds = (performance.now() - start) / 1000;
  const finding = findingOf(found, photo, seconds, bundle);
  say({ say: "found", finding, shown: photo ? await shownOf(photo) : null });
}

function unread(name: string, error: PhotoError, { stages }: Bundle): Screened {
  const gate = stages.find((stage) => stage.kind === "quality");
  return {
    ...unanswered(name),
    stoppedAt: error.readable && gate ? gate.name : "reading",
    reasons: [{ key: error.key, values: error.values }],
  };
}

function findingOf({ mask, ...rest }: Screened, photo: Photo | null, seconds: number, { name, version }: Bundle): Finding {
  return {
    ...rest,
    seconds,
    height: photo?.height ?? 0,
    width: photo?.width ?? 0,
    outlines: { disc: mask ? outlinesOf(mask, 1) : [], cup: mask ? outlinesOf(mask, 2) : [] },
    models: `${name} ${version.slice(0, 12)}`,
  };
}

async function photoIn(picture: Picture): Promise<Photo> {
  if ("pixels" in picture) return photoOf({ data: picture.pixels, height: picture.height, width: picture.width });
  return readPhoto(picture.bytes, { jpeg: decodedJpeg, other: decodedByBrowser });
}

async function decodedJpeg(bytes: ArrayBuffer): Promise<Pixels> {
  jpeg ??= WebAssembly.compileStreaming(fetch(jpegWasm)).then(init);
  await jpeg;
  return decodeJpeg(bytes);
}

async function decodedByBrowser(bytes: ArrayBuffer): Promise<Pixels> {
  const options: ImageBitmapOptions = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(new Blob([bytes]), options);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** The upright photo as a JPEG that can be shown and kept. */
async function shownOf(photo: Photo): Promise<Blob> {
  const { planes, height, width } = photo;
  const pixels = new ImageData(width, height);
  for (let at = 0; at < planes[0].length; at++) {
    for (let k = 0; k < 3; k++) pixels.data[4 * at + k] = planes[k][at];
    pixels.data[4 * at + 3] = 255;
  }
  const factor = Math.min(1, SHOWN / Math.max(height, width));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * factor)), Math.max(1, Math.round(height * factor)));
  const context = canvas.getContext("2d")!;
  context.imageSmoothingQuality = "high";
  context.drawImage(await createImageBitmap(pixels), 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
}
