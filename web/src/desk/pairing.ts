// Which of the dropped files make one case.

export interface Named {
  readonly name: string;
}

export interface CaseOf<F> {
  image: F[];
  post: F | null;
  footprints: F | null;
}

/** Files of a pair that are waiting for the rest of it. */
export interface Slots<F> {
  pre: F | null;
  post: F | null;
  footprints: F | null;
}

export interface Kind {
  dates: number;
  rank: number;
  channels: number;
}

const VECTORS = /\.(geojson|gpkg|fgb|shp|kml|json)$/i;
const BEFORE = /(^|[^a-z])(pre|before|earlier)([^a-z]|$)/i;
const AFTER = /(^|[^a-z])(post|after|later)([^a-z]|$)/i;
const DICOM = /(\.(dcm|ima|dicom)$)|(^[^.]*$)|(^[\d.]+$)/i;
const COMPRESSED = /\.gz$/i;

export function isVector(name: string): boolean {
  return VECTORS.test(name);
}

/** The date that a name tells of. */
export function dateOf(name: string): "pre" | "post" | null {
  const pre = BEFORE.test(name);
  return pre === AFTER.test(name) ? null : pre ? "pre" : "post";
}

/** The name without its date and ending: equal for both files of a pair. */
export function stemOf(name: string): string {
  return name
    .toLowerCase()
    .replace(/\.[^.]+$/, "")
    .replace(BEFORE, "$1$3")
    .replace(AFTER, "$1$3")
    .replace(/[^a-z0-9]+/g, " ")
    .trim();
}

/** Files of several channels of one case differ in the last part of the name only: case_t1, case_t2. */
function caseOf(name: string): string {
  const bare = name.replace(COMPRESSED, "").replace(/\.[^.]+$/, "");
  return bare.replace(/[-_.][^-_.]*$/, "");
}

/** Cases that can be sent at once, and what stays in the two slots of a pair. */
export function group<F extends Named>(files: F[], kind: Kind, held: Slots<F>): { cases: CaseOf<F>[]; slots: Slots<F> } {
  if (kind.dates === 2) return pairs(files, held);
  const empty: Slots<F> = { pre: null, post: null, footprints: null };
  return { cases: singles(files, kind).map((image) => ({ image, post: null, footprints: null })), slots: empty };
}

function singles<F extends Named>(files: F[], kind: Kind): F[][] {
  if (kind.rank === 3 && files.length > 1) {
    if (files.every((one) => DICOM.test(one.name))) return [files];
    if (kind.channels > 1) {
      const found = groupBy(files, (one) => caseOf(one.name));
      return [...found.values()].flatMap((one) => (one.length === kind.channels ? [one] : one.map((file) => [file])));
    }
  }
  return files.map((one) => [one]);
}

function groupBy<F>(items: F[], key: (item: F) => string): Map<string, F[]> {
  const found = new Map<string, F[]>();
  for (const item of items) found.set(key(item), [...(found.get(key(item)) ?? []), item]);
  return found;
}

function pairs<F extends Named>(files: F[], held: Slots<F>): { cases: CaseOf<F>[]; slots: Slots<F> } {
  const slots = { ...held };
  slots.footprints = files.find((one) => isVector(one.name)) ?? held.footprints;
  const cases: CaseOf<F>[] = [];
  const rest: F[] = [];
  const waiting = new Map<string, F>();
  for (const file of files.filter((one) => !isVector(one.name))) {
    const date = dateOf(file.name);
    if (date === null) {
      rest.push(file);
      continue;
    }
    const other = waiting.get(`${date === "pre" ? "post" : "pre"} ${stemOf(file.name)}`);
    if (other) {
      waiting.delete(`${date === "pre" ? "post" : "pre"} ${stemOf(file.name)}`);
      const [pre, post] = date === "pre" ? [file, other] : [other, file];
      cases.push({ image: [pre], post, footprints: slots.footprints });
    } else waiting.set(`${date} ${stemOf(file.name)}`, file);
  }
  if (cases.length) slots.footprints = null;
  for (const [key, file] of waiting) slots[key.startsWith("pre") ? "pre" : "post"] = file;
  for (const file of rest) {
    if (!slots.pre) slots.pre = file;
    else slots.post = file;
  }
  return { cases, slots };
}
