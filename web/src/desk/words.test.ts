import { describe, expect, it } from "vitest";
import type { Job, ModelInfo } from "../common/contract";
import type { Entry } from "./store";
import { endings, finds, progressOf, stateOf, takes } from "./words";

const model: ModelInfo = {
  name: "skin", kind: "segmentation", rank: 2, channels: 3, classes: [{ value: 0, name: "background", color: "#000000" }, { value: 1, name: "lesion", color: "#ff0000" }],
  task: "exclusive", dates: 1, unit: null, accepts: ["png", "jpeg"], sha256: "", trained: {}, warning: "",
}; // prettier-ignore
const job: Job = {
  id: "1", model: "skin", kind: "image", name: "a.png", status: "running", error: null, created: 0, started: 10, ended: null, expires: null, view: null, files: [],
  progress: { stage: "predicting", done: 3, total: 12, seconds_left: 8.2 },
}; // prettier-ignore
const entry = (parts: Partial<Entry>): Entry => ({ key: "1", name: "a", model: "skin", job: null, sent: null, error: null, stop: new AbortController(), ...parts });

describe("models", () => {
  it("says what it takes and finds", () => {
    expect(takes(model)).toBe("Takes images: PNG or JPEG.");
    expect(finds(model)).toBe("Tells lesion.");
    expect(takes({ ...model, dates: 2, accepts: ["geotiff"] })).toContain("before and after: GeoTIFF");
    expect(takes({ ...model, rank: 3, channels: 2, channel_names: ["t1", "t2"], accepts: ["nifti"] })).toContain("2 channels (t1, t2)");
  });

  it("limits the dialog to what it takes, but not where files need no ending", () => {
    expect(endings(model)).toBe(".png,.jpg,.jpeg");
    expect(endings({ ...model, rank: 3, accepts: ["dicom"] })).toBe("");
  });
});

describe("jobs", () => {
  it("says how far one is", () => {
    expect(progressOf(entry({ job }))).toEqual({ text: "Predicting, 3 of 12, about 8 s left", share: 0.25 });
    expect(progressOf(entry({ sent: 0.5 }))).toEqual({ text: "Sending", share: 0.5 });
    expect(progressOf(entry({ sent: 1 }))?.share).toBeNull();
    const queued: Job = { ...job, status: "queued", progress: { stage: "waiting", done: 0, total: 0, seconds_left: null, ahead: 2 } };
    expect(progressOf(entry({ job: queued }))?.text).toBe("Waiting, 2 before it");
    expect(progressOf(entry({ job: { ...job, status: "done" } }))).toBeNull();
  });

  it("says how long one took", () => {
    expect(stateOf({ ...job, status: "done", ended: 11.26 })).toBe("done in 1.3 s");
    expect(stateOf({ ...job, status: "done", ended: 200 })).toBe("done in 3 min");
    expect(stateOf({ ...job, status: "failed", ended: 11 })).toBe("no result");
  });
});
