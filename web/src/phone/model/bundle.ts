// What `catenary export --to phone` writes: the stages of a screening, and all that surrounds their networks.

import type { Margin } from "../measure/disc.ts";

export const FORMAT = "catenary.phone/1";

export interface Calibration {
  readonly method: "identity" | "temperature" | "isotonic";
  readonly temperature: number;
  readonly knots: readonly (readonly [number, number])[];
}

/** The last features of the training images, summed up; see catenary.predict.familiar. */
export interface Familiar {
  readonly count: number;
  readonly features: number;
  /** float32 and float16 values, base64. */
  readonly mean: string;
  readonly axes: string;
  readonly variances: readonly number[];
  readonly rest: number;
  readonly quantiles: readonly number[];
  readonly limit: number;
}

export interface Input {
  readonly channels: number;
  readonly dtype: string;
  readonly normalise: string;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly window: readonly number[];
  readonly size: number;
  readonly patch: readonly [number, number];
  /** What a photo is seen in at least: it lies in the middle of this, mirrored beyond its ends. */
  readonly frame: readonly [number, number];
  readonly multiple: readonly [number, number];
  readonly least: readonly [number, number];
  readonly tile: readonly [number, number];
  readonly overlap: readonly [number, number];
  readonly low: readonly number[] | null;
  readonly high: readonly number[] | null;
}

export interface Output {
  readonly task: "binary" | "exclusive" | "overlapping";
  readonly names: readonly string[];
  readonly regions: Readonly<Record<string, readonly number[]>>;
  readonly thresholds: readonly number[];
  readonly cleaning: Readonly<Record<string, readonly string[]>>;
  readonly smallest: number;
}

export interface Model {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly precision: string;
  readonly input: Input;
  readonly output: Output;
  readonly warning: string;
}

export interface QualityStage {
  readonly kind: "quality";
  readonly name: string;
  readonly least: "usable" | "good";
}

export interface DiscStage {
  readonly kind: "disc";
  readonly name: string;
  readonly margin: Margin;
  readonly model: Model;
  readonly measures: boolean;
  readonly ratio: { readonly shift_low: number; readonly shift_high: number } | null;
}

export interface JudgeStage {
  readonly kind: "judge";
  readonly name: string;
  readonly sees: "disc" | "photo";
  readonly after: string;
  readonly model: Model;
  readonly calibration: Calibration | null;
  readonly threshold: number;
  readonly judged: readonly (readonly [number, number])[];
  readonly familiar: Familiar | null;
}

export type Stage = QualityStage | DiscStage | JudgeStage;

export interface Bundle {
  readonly format: string;
  readonly name: string;
  readonly created: string;
  readonly version: string;
  readonly stages: readonly Stage[];
}

/** The models of a bundle, in the order of their stages. */
export function modelsOf(bundle: Bundle): Model[] {
  return bundle.stages.flatMap((stage) => (stage.kind === "quality" ? [] : [stage.model]));
}

/** What a network gives for one picture. */
export interface Answer {
  readonly probability: Float32Array;
  /** Sizes of its axes, the batch first. */
  readonly dims: readonly number[];
  readonly features: Float32Array | null;
}

/** Runs the network of a model on a picture of `channels` planes. */
export type Run = (model: Model, x: Float32Array, height: number, width: number) => Promise<Answer>;
