// States of a case in words. Pure.

import type { Job, ModelInfo } from "../common/contract";
import { count, duration } from "../common/format";
import type { Entry } from "./store";

const KINDS: Record<string, string> = {
  png: "PNG", jpeg: "JPEG", bmp: "BMP", tiff: "TIFF", geotiff: "GeoTIFF", nifti: "NIfTI", dicom: "DICOM series", "dicom-zip": "zip of DICOM",
}; // prettier-ignore

/** What a model takes, in a sentence. */
export function takes(model: ModelInfo): string {
  const kinds = model.accepts.map((one) => KINDS[one] ?? one);
  const listed = kinds.length > 1 ? `${kinds.slice(0, -1).join(", ")} or ${kinds.at(-1)}` : (kinds[0] ?? "any file");
  if (model.dates === 2) return `Takes two images of one place, before and after: ${listed}. Outlines of buildings may come with them.`;
  const what = model.rank === 3 ? "volumes" : model.kind === "pipeline" ? "photos" : "images";
  const several = model.rank === 3 && model.channels > 1 ? ` with ${model.channels} channels${named(model.channel_names)}, in one file or in one file each` : "";
  return `Takes ${what}${several}: ${listed}.`;
}

function named(names: string[] | undefined): string {
  return names?.length ? ` (${names.join(", ")})` : "";
}

/** What a model finds: its classes, or its stages. */
export function finds(model: ModelInfo): string {
  if (model.stages?.length) return `Stages: ${model.stages.join(", ")}.`;
  const found = model.targets?.length ? model.targets : model.classes.filter((one) => one.value !== 0 || model.kind === "classification");
  const names = found.map((one) => one.name);
  return names.length ? `Tells ${names.join(", ")}.` : "";
}

/** Endings for the dialog that picks files. */
export function endings(model: ModelInfo): string {
  const known: Record<string, string> = {
    png: ".png", jpeg: ".jpg,.jpeg", bmp: ".bmp", tiff: ".tif,.tiff", geotiff: ".tif,.tiff", nifti: ".nii,.gz", dicom: ".dcm", "dicom-zip": ".zip",
  }; // prettier-ignore
  const all = model.accepts.flatMap((one) => (known[one] ?? "").split(","));
  if (model.dates === 2) all.push(".geojson", ".gpkg", ".fgb", ".zip");
  return model.rank === 3 ? "" : [...new Set(all)].filter(Boolean).join(",");
}

/** How far a job is; the part that is done, or null where that is not known. */
export function progressOf(entry: Entry): { text: string; share: number | null } | null {
  if (entry.sent !== null) return { text: entry.sent < 1 ? "Sending" : "The server checks it", share: entry.sent < 1 ? entry.sent : null };
  const job = entry.job;
  if (job?.status === "queued") {
    const ahead = job.progress?.ahead ?? 0;
    return { text: ahead ? `Waiting, ${count(ahead)} before it` : "Waiting", share: null };
  }
  if (job?.status !== "running") return null;
  const { stage = "starting", done = 0, total = 0, seconds_left: left = null } = job.progress ?? {};
  const parts = [stage.charAt(0).toUpperCase() + stage.slice(1)];
  if (total > 1) parts.push(`${count(done)} of ${count(total)}`);
  if (left !== null) parts.push(`about ${duration(left)} left`);
  return { text: parts.join(", "), share: total > 0 ? done / total : null };
}

/** The state of a case that does not run. */
export function stateOf(job: Job): string {
  const seconds = job.started !== null && job.ended !== null ? job.ended - job.started : null;
  const took = seconds === null ? "" : ` in ${seconds < 10 ? `${Math.max(0.1, seconds).toFixed(1)} s` : duration(seconds)}`;
  const states = { queued: "waiting", running: "running", done: `done${took}`, failed: "no result", cancelled: "cancelled" };
  return states[job.status];
}
