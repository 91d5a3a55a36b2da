// What the page and its worker tell each other.

import type { Disc } from "./measure/disc.ts";
import type { Quality } from "./measure/fundus.ts";
import type { Bundle } from "./model/bundle.ts";
import type { Judged } from "./model/judge.ts";
import type { Told } from "./model/prepare.ts";
import type { Outline } from "./outline.ts";
import type { Offer } from "./store.ts";

/** What is said of one photo, without its pixels. */
export interface Finding {
  readonly name: string;
  readonly stoppedAt: string;
  readonly reasons: readonly Told[];
  readonly quality: Quality | null;
  readonly disc: Disc | null;
  readonly vcdr: readonly [number, number | null, number | null] | null;
  readonly answers: readonly Judged[];
  readonly warnings: readonly Told[];
  readonly seconds: number;
  /** Size of the photo; 0 where it cannot be read. */
  readonly height: number;
  readonly width: number;
  readonly outlines: { readonly disc: Outline; readonly cup: Outline };
  /** Name and version of the models that said it. */
  readonly models: string;
}

export type Picture =
  | { readonly bytes: ArrayBuffer }
  | { readonly pixels: Uint8ClampedArray; readonly height: number; readonly width: number };

/** From the page to the worker. */
export type Asked =
  | { ask: "open"; base: string; token: string }
  | { ask: "fetch"; offer: Offer }
  | { ask: "screen"; name: string; picture: Picture };

/** From the worker to the page. */
export type Said =
  | { say: "fetching"; done: number; total: number }
  | { say: "open"; bundle: Bundle }
  | { say: "offers"; offers: Offer[] }
  | { say: "stage"; stage: string; share: number }
  | { say: "found"; finding: Finding; shown: Blob | null }
  | { say: "failed"; key: string; values: Readonly<Record<string, string | number>>; during: Asked["ask"] };
