// A photo through the stages of a screening: an answer, or the stage that stopped it and why.

import type { Photo, Plane } from "./measure/arrays.ts";
import { around, discOf, planesOf, shapeFault, type Disc } from "./measure/disc.ts";
import { eyeFromDisc, eyeOfName, qualityOf, SMALLEST, type Quality } from "./measure/fundus.ts";
import type { Bundle, DiscStage, JudgeStage, QualityStage, Run } from "./model/bundle.ts";
import { judge, type Judged } from "./model/judge.ts";
import { doubts, type Told } from "./model/prepare.ts";
import { labelled, probabilities } from "./model/segment.ts";

export interface Screened {
  readonly name: string;
  /** Name of the stage that stopped it; empty when every stage that was due has answered. */
  readonly stoppedAt: string;
  /** Why, as messages. */
  readonly reasons: readonly Told[];
  readonly quality: Quality | null;
  /** 0 background, 1 rim, 2 cup, of the photo's size. */
  readonly mask: Plane<Uint8Array> | null;
  readonly disc: Disc | null;
  /** Vertical cup-to-disc ratio with its 95 % interval. */
  readonly vcdr: readonly [number, number | null, number | null] | null;
  readonly answers: readonly Judged[];
  readonly warnings: readonly Told[];
}

/** Told when a stage begins, and how far it is, 0..1. */
export type Progress = (stage: string, share: number) => void;

type Found = { -readonly [key in keyof Screened]: Screened[key] } & { crop: Photo | null };

/** A photo that no stage has seen. */
export function unanswered(name: string): Screened {
  return {
    name,
    stoppedAt: "",
    reasons: [],
    quality: null,
    mask: null,
    disc: null,
    vcdr: null,
    answers: [],
    warnings: [],
  };
}

/** Screen one photo; whatever is wrong with it is in the answer. */
export async function screen(
  photo: Photo,
  name: string,
  bundle: Bundle,
  run: Run,
  progress: Progress = () => {},
): Promise<Screened> {
  const found: Found = { ...unanswered(name), crop: null };
  for (const stage of bundle.stages) {
    progress(stage.name, 0);
    let reasons: Told[] = [];
    if (stage.kind === "quality") reasons = gate(found, photo, stage);
    else if (stage.kind === "disc") reasons = await findDisc(found, photo, stage, run, (share) => progress(stage.name, share));
    else if (isDue(stage, found)) await ask(found, photo, stage, run);
    progress(stage.name, 1);
    if (reasons.length) {
      found.stoppedAt = stage.name;
      found.reasons = reasons;
      break;
    }
  }
  const { crop: _, ...answer } = found;
  return answer;
}

function isDue(stage: JudgeStage, found: Found): boolean {
  return !stage.after || found.answers.some((one) => one.stage === stage.after && one.positive);
}

const told = (key: string): Told => ({ key, values: {} });

function gate(found: Found, photo: Photo, stage: QualityStage): Told[] {
  if (Math.min(photo.height, photo.width) < SMALLEST) {
    return [{ key: "quality.tiny", values: { height: photo.height, width: photo.width } }];
  }
  const quality = qualityOf(photo);
  found.quality = quality;
  const reasons = quality.reasons.map(told);
  if (quality.verdict === "reject" || (stage.least === "good" && quality.verdict !== "good")) return reasons;
  found.warnings = [...found.warnings, ...reasons];
  return [];
}

async function findDisc(
  found: Found,
  photo: Photo,
  stage: DiscStage,
  run: Run,
  progress: (share: number) => void,
): Promise<Told[]> {
  const { output } = stage.model;
  const planes = await probabilities(photo, stage.model, run, (done, total) => progress((0.9 * done) / total));
  const label = labelled(planes, [photo.height, photo.width], output);
  const parts = planesOf(label, output.names, output.regions);
  if (!parts) return [told("disc.none")];
  const { whole, cup } = parts;
  found.mask = { ...whole, data: whole.data.map((value, at) => value + cup.data[at]) };
  found.warnings = [...found.warnings, ...doubts(photo, stage.model)];
  const first = discOf(whole, cup, null);
  found.disc = first;
  const why = first.parts !== 1 || !first.centre ? first.findings[0] : shapeFault(first);
  if (why || !first.centre) {
    const again = { key: "disc.again", values: { count: first.parts } };
    return [{ key: why ?? "disc.none", values: { count: first.parts } }, again];
  }
  let eye = eyeOfName(found.name.replace(/\.[^.]*$/, ""));
  const field = found.quality?.field;
  if (eye === null && field) eye = eyeFromDisc(first.centre[1], field);
  const disc = eye === null ? first : discOf(whole, cup, eye);
  found.disc = disc;
  if (disc.ratioVertical !== null) found.vcdr = withInterval(disc.ratioVertical, stage);
  found.warnings = [...found.warnings, ...disc.findings.filter((key) => key !== "disc.eye").map(told)];
  found.crop = around(photo, whole, stage.margin);
  return [];
}

function withInterval(value: number, { ratio, measures }: DiscStage): [number, number | null, number | null] {
  if (!ratio || !measures) return [value, null, null];
  const bounded = (end: number) => Math.min(Math.max(end, 0), 1);
  return [value, bounded(value - ratio.shift_low), bounded(value - ratio.shift_high)];
}

async function ask(found: Found, photo: Photo, stage: JudgeStage, run: Run): Promise<void> {
  const seen = stage.sees === "photo" || !found.crop ? photo : found.crop;
  const answer = await judge(seen, stage, run);
  found.answers = [...found.answers, answer];
  const strange: Told[] = [];
  if (answer.likeness?.flagged && stage.familiar) {
    const far = answer.likeness.distance / stage.familiar.limit;
    strange.push({ key: "doubt.strange", values: { count: stage.familiar.count, far } });
  }
  const all = [...strange, ...doubts(seen, stage.model)];
  found.warnings = [...found.warnings, ...all.map((one) => ({ ...one, values: { ...one.values, stage: stage.name } }))];
}
