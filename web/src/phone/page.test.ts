// Words, numbers, table, outlines, hashes of the page.

import { describe, expect, test } from "vitest";
import en from "./messages/en.json";
import hi from "./messages/hi.json";
import tr from "./messages/tr.json";
import { LIMITS } from "./measure/fundus.ts";
import { outlinesOf, pathOf } from "./outline.ts";
import { csvOf } from "./page/table.ts";
import { general, number, say, sayPlain, sentence, setLanguage } from "./page/words.ts";
import type { Finding } from "./talk.ts";

const sources = import.meta.glob(["./**/*.ts", "!./**/*.test.ts"], { query: "?raw", import: "default", eager: true });

describe("messages", () => {
  const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();

  test.each([["tr", tr], ["hi", hi]] as const)("%s says all that English says", (_, other: Record<string, string>) => {
    expect(Object.keys(other).sort()).toEqual(Object.keys(en).sort());
    for (const [key, text] of Object.entries(en)) {
      expect(other[key].trim(), key).not.toBe("");
      expect(places(other[key]), key).toEqual(places(text));
    }
  });

  test("every key that the page names is a message, and every message is named", () => {
    const code = Object.values(sources).join("\n");
    const named = new Set([...code.matchAll(/["'`]([a-z]+(?:\.[a-z]+)+)["'`]/g)].map(([, key]) => key));
    const groups = ["quality", "disc", "doubt", "reading", "models", "storage", "unsupported", "camera", "history", "result"];
    for (const key of named) {
      if (groups.includes(key.split(".")[0]) && !key.endsWith(".json")) expect(en, key).toHaveProperty([key]);
    }
    const built = /^(stage|eye|verdict|rim|glaucoma|progression|judge|fact\.isnt|about\.offline)\./;
    for (const key of Object.keys(en)) if (!built.test(key)) expect(code.includes(`"${key}"`), key).toBe(true);
    for (const [, , , reason] of LIMITS) expect(en).toHaveProperty([reason]);
  });

  test("numbers are written as the language does", () => {
    setLanguage("tr");
    expect(say("probability", { value: 0.125 })).toBe("Modele göre olasılık: 0,13");
    expect(sentence("iyi")).toBe("İyi.");
    setLanguage("hi");
    expect(number(1234567.5)).toBe("12,34,567.5");
    expect(sentence("ठीक")).toBe("ठीक।");
    setLanguage("en");
    expect(say("nowhere")).toBe("nowhere");
  });
});

test("numbers of the table are Python's", () => {
  const pairs: [number, string][] = [
    [0, "0"], [1, "1"], [0.5, "0.5"], [0.123456, "0.1235"], [12345.6, "1.235e+04"], [0.00001234, "1.234e-05"],
    [0.0001234, "0.0001234"], [9.99951, "10"], [99995, "1e+05"], [-2.5, "-2.5"],
  ]; // prettier-ignore
  for (const [value, text] of pairs) expect(general(value, 4)).toBe(text);
  expect(sayPlain("doubt.strange", { count: 20, far: 2.345 })).toContain("2.3 times");
});

const finding = (changes: Partial<Finding>): Finding => ({
  name: "a.jpg",
  stoppedAt: "",
  reasons: [],
  quality: null,
  disc: null,
  vcdr: null,
  answers: [],
  warnings: [],
  seconds: 1.23456,
  height: 10,
  width: 10,
  outlines: { disc: [], cup: [] },
  models: "m 1",
  ...changes,
});

test("the table has the columns and the words of screening.csv", () => {
  const judged = { stage: "glaucoma", names: ["healthy", "glaucoma"] as const, positive: true, probability: 0.87654, plain: 0.8 };
  const rest = { interval: [0.7, 0.9] as const, threshold: 0.5, likeness: null };
  const table = csvOf([
    finding({
      name: 'a "good", one.jpg',
      vcdr: [0.61234, 0.5, null],
      answers: [{ ...judged, ...rest }],
      warnings: [
        { key: "quality.dark", values: {} },
        { key: "doubt.strange", values: { count: 20, far: 1.54, stage: "glaucoma" } },
      ],
    }),
    finding({ stoppedAt: "disc", reasons: [{ key: "disc.several", values: { count: 2 } }, { key: "disc.again", values: {} }] }),
  ]);
  const [head, first, second] = table.split("\r\n");
  expect(head).toBe(
    "photo,result,stopped_at,reason,quality,vcdr,vcdr_low,vcdr_high,eye,warnings,seconds," +
      "glaucoma,p(glaucoma),p(glaucoma)_low,p(glaucoma)_high,glaucoma_threshold",
  );
  expect(first).toBe(
    '"a ""good"", one.jpg",glaucoma,,,,0.6123,0.5,,,"too dark: use more light; glaucoma: a ""good"", one.jpg: unlike the 20 ' +
      "images that the model was trained on (1.5 times as far from them as others of their kind lie): its answer is a " +
      'guess",1.235,glaucoma,0.8765,0.7,0.9,0.5',
  );
  expect(second).toBe(
    'a.jpg,no answer,disc,"2 parts could be the optic disc, which is not decided here; take the photo again, with the disc ' +
      'well in view",,,,,,,1.235,,,,,',
  );
});

test("outlines run along the borders of pixels", () => {
  const rows = ["01100", "01110", "00000", "00011"];
  const mask = { data: Uint8Array.from(rows.join(""), Number), height: 4, width: 5 };
  const lines = outlinesOf(mask, 1);
  expect(lines).toHaveLength(2);
  const area = (line: number[]) => {
    let sum = 0;
    for (let k = 0; k < line.length; k += 2) {
      const [x, y, u, v] = [line[k], line[k + 1], line[(k + 2) % line.length], line[(k + 3) % line.length]];
      sum += x * v - u * y;
    }
    return sum / 2;
  };
  expect(lines.map(area)).toEqual([5, 2]);
  expect(pathOf([[0, 0, 2, 0, 2, 2, 0, 2]])).toBe("M0,0 L2,0 L2,2 L0,2Z");
  expect(outlinesOf(mask, 2)).toEqual([]);
});
