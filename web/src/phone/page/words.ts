// The page's words, from one file of messages a language, and numbers as that language writes them.

import en from "../messages/en.json";
import hi from "../messages/hi.json";
import tr from "../messages/tr.json";
import type { Told } from "../model/prepare.ts";

export const LANGUAGES = { en: "English", tr: "Türkçe", hi: "हिन्दी" } as const;
export type Language = keyof typeof LANGUAGES;
export type Values = Readonly<Record<string, string | number>>;

const MESSAGES: Record<Language, Readonly<Record<string, string>>> = { en, tr, hi };
const KEPT = "catenary-language";

let language: Language = chosen();

function chosen(): Language {
  const wanted = [remembered(), ...(globalThis.navigator?.languages ?? [])];
  return wanted.map((name) => name?.slice(0, 2)).find((name): name is Language => !!name && name in MESSAGES) ?? "en";
}

function remembered(): string | null {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // storage can be switched off; the browser's language serves then
  }
}

export function currentLanguage(): Language {
  return language;
}

export function setLanguage(wanted: Language): void {
  language = wanted;
  try {
    localStorage.setItem(KEPT, wanted);
  } catch {
    return; // it is not remembered then, but it is spoken
  }
}

export function number(value: number, digits = 2): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

export function date(value: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(value));
}

export function has(key: string): boolean {
  return key in MESSAGES.en;
}

/** A message of the current language. */
export function say(key: string, values: Values = {}): string {
  return filled(MESSAGES[language][key] ?? MESSAGES.en[key] ?? key, values, (value) => number(value));
}

/** The same in English, with numbers as a table of Python has them. */
export function sayPlain(key: string, values: Values = {}): string {
  return filled(MESSAGES.en[key] ?? key, values, (value, name) => (name === "far" ? value.toFixed(1) : general(value, 6)));
}

function filled(text: string, values: Values, write: (value: number, name: string) => string): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return typeof value === "number" ? write(value, name) : (value ?? whole);
  });
}

/** A number with so many digits that count, as Python's format "g" writes it. */
export function general(value: number, digits: number): string {
  if (value === 0) return "0";
  const [base, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  const short = (text: string) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power < -4 || power >= digits) {
    return `${short(base)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return short(value.toFixed(digits - 1 - power));
}

/** A text with a capital letter and a full stop. */
export function sentence(text: string): string {
  const begun = text.charAt(0).toLocaleUpperCase(language) + text.slice(1);
  return /[.!?।]$/.test(begun) ? begun : `${begun}${language === "hi" ? "।" : "."}`;
}

/** The name of a stage, translated where it is a known one. */
export function stageName(stage: string): string {
  return has(`stage.${stage}`) ? say(`stage.${stage}`) : stage;
}

/** Reasons in one text. */
export function reasonText(reasons: readonly Told[]): string {
  return reasons.map(({ key, values }) => say(key, values)).join("; ");
}
