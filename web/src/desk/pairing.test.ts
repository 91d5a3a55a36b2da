import { describe, expect, it } from "vitest";
import { dateOf, group, stemOf, type Kind, type Slots } from "./pairing";

const empty: Slots<{ name: string }> = { pre: null, post: null, footprints: null };
const named = (...names: string[]) => names.map((name) => ({ name }));
const pair: Kind = { dates: 2, rank: 2, channels: 3 };

describe("dates told by names", () => {
  it.each([
    ["town_pre_disaster.png", "pre"],
    ["hurricane_00001_post_disaster.tif", "post"],
    ["before.tif", "pre"],
    ["After-2024.tif", "post"],
    ["postcard_press.tif", null],
    ["pre_post.tif", null],
  ])("%s is %s", (name, date) => expect(dateOf(name)).toBe(date));

  it("leaves what both files of a pair share", () => {
    expect(stemOf("town_0001_pre_disaster.png")).toBe(stemOf("town_0001_post_disaster.tif"));
    expect(stemOf("town_0001_pre.png")).not.toBe(stemOf("town_0002_post.png"));
  });
});

describe("pairs", () => {
  it("joins several pairs by their names, in any order", () => {
    const { cases, slots } = group(named("a_post.tif", "b_pre.tif", "a_pre.tif", "b_post.tif"), pair, empty);
    expect(cases.map((one) => [one.image[0]?.name, one.post?.name])).toEqual([
      ["a_pre.tif", "a_post.tif"],
      ["b_pre.tif", "b_post.tif"],
    ]);
    expect(slots).toEqual(empty);
  });

  it("keeps a file that waits for its other date, and the buildings", () => {
    const { cases, slots } = group(named("a_post.tif", "houses.gpkg"), pair, empty);
    expect(cases).toEqual([]);
    expect(slots).toEqual({ pre: null, post: { name: "a_post.tif" }, footprints: { name: "houses.gpkg" } });
  });

  it("sends nothing by itself where names tell no date", () => {
    const { cases, slots } = group(named("one.tif", "two.tif"), pair, empty);
    expect(cases).toEqual([]);
    expect([slots.pre?.name, slots.post?.name]).toEqual(["one.tif", "two.tif"]);
  });

  it("gives the buildings to the pair they were dropped with", () => {
    const { cases } = group(named("a_pre.tif", "a_post.tif", "houses.geojson"), pair, empty);
    expect(cases[0]?.footprints?.name).toBe("houses.geojson");
  });
});

describe("one date", () => {
  it("makes a case of each image", () => {
    expect(group(named("a.png", "b.png"), { dates: 1, rank: 2, channels: 3 }, empty).cases).toHaveLength(2);
  });

  it("makes one case of the slices of a DICOM series", () => {
    const slices = named("IM0001.dcm", "IM0002.dcm", "IM0003");
    expect(group(slices, { dates: 1, rank: 3, channels: 1 }, empty).cases).toHaveLength(1);
  });

  it("joins the channels of a volume, case by case", () => {
    const files = named("p1-t1.nii.gz", "p1-t2.nii.gz", "p2-t1.nii.gz", "p2-t2.nii.gz");
    const { cases } = group(files, { dates: 1, rank: 3, channels: 2 }, empty);
    expect(cases.map((one) => one.image.map((file) => file.name))).toEqual([
      ["p1-t1.nii.gz", "p1-t2.nii.gz"],
      ["p2-t1.nii.gz", "p2-t2.nii.gz"],
    ]);
  });
});
