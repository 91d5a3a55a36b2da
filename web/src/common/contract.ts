// What the server says, as its OpenAPI page describes it.

export interface ClassInfo {
  value: number;
  name: string;
  color: string;
}

export interface ModelInfo {
  name: string;
  kind: "segmentation" | "classification" | "pipeline" | "damage";
  rank: 2 | 3;
  channels: number;
  channel_names?: string[];
  /** Stages of a pipeline. */
  stages?: string[];
  classes: ClassInfo[];
  /** What a segmentation finds: classes, or regions of several classes. */
  targets?: Target[];
  task: "exclusive" | "regions";
  dates: 1 | 2;
  unit: string | null;
  /** Kinds of files, such as "png" and "dicom-zip". */
  accepts: string[];
  sha256: string;
  trained: Record<string, unknown>;
  /** What its answers are worth; empty when nothing is to be said. */
  warning: string;
  /** Why it cannot be used now; empty when it can. */
  trouble?: string;
}

export type JobStatus = "queued" | "running" | "done" | "failed" | "cancelled";

export interface Progress {
  stage: string;
  done: number;
  /** 0: not known. */
  total: number;
  seconds_left: number | null;
  /** Jobs that wait before this one. */
  ahead?: number;
}

export interface JobFile {
  name: string;
  role: string;
  type: string;
  bytes: number;
  url: string;
}

export interface Job {
  id: string;
  model: string;
  kind: string;
  name: string;
  status: JobStatus;
  progress: Progress | null;
  error: { code?: string; message: string } | null;
  /** Seconds since 1970, as the others. */
  created: number;
  started: number | null;
  ended: number | null;
  expires: number | null;
  view: View | null;
  files: JobFile[];
}

export interface JobPage {
  total: number;
  offset: number;
  jobs: Job[];
}

/** One class or region that can be shown. */
export interface Target {
  name: string;
  value: number;
  color: string;
  threshold: number | null;
  /** Places of the targets that it is a part of; it counts only where they are found, too. */
  within: number[];
}

/** A row of a table of measurements; which columns there are depends on the model. */
export type Row = Record<string, string | number | boolean | null | undefined>;

export interface ImageView {
  kind: "image";
  width: number;
  height: number;
  shown: { width: number; height: number };
  image: string;
  /** Of the earlier date, where there are two. */
  before?: string | null;
  mask: string;
  probability: { target: string; url: string }[];
  task: "exclusive" | "regions";
  targets: Target[];
  measurements: Row[];
  quantities?: Row[];
  warnings: string[];
}

export interface ClassesView {
  kind: "classes";
  image: string;
  answers: { name: string; probability: number }[];
  /** The name of the answer. */
  decided: string;
  threshold: number | null;
  interval: [number, number] | null;
  looked: string | null;
  warnings: string[];
}

export interface VolumeView {
  kind: "volume";
  image: string;
  /** Each channel as a file, where there are several; `image` is the first. */
  channels?: { name: string; url: string }[];
  mask: string;
  targets: Target[];
  spacing: number[] | null;
  unit?: string | null;
  measurements: Row[];
  quantities?: Row[];
  warnings: string[];
}

export interface LegendEntry {
  name: string;
  color: string;
}

export interface MapLayer {
  id: "pre" | "post" | "damage" | "confidence";
  name: string;
  tiles: string;
  legend?: LegendEntry[] | null;
}

export interface MapView {
  kind: "map";
  bounds: [number, number, number, number];
  minzoom: number;
  maxzoom: number;
  layers: MapLayer[];
  buildings: string | null;
  targets?: Target[];
  summary: Record<string, unknown>;
  warnings: string[];
}

export interface ScreeningView {
  kind: "screening";
  photo: string | null;
  contours: string | null;
  row: Row;
  stages: { name: string; state: string; answer: string | null; probability: number | null }[];
  sheet: string | null;
  warnings?: string[];
}

export type View = ImageView | ClassesView | VolumeView | MapView | ScreeningView;
