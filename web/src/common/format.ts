// Numbers, sizes and times as people read them.

/** At most `digits` significant figures, without an exponent where it can be read without: 0.0312, 1,234,567. */
export function number(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size < -5) return value.toExponential(digits - 1);
  const places = Math.max(0, Math.min(12, digits - 1 - size));
  return value.toLocaleString("en", { maximumFractionDigits: places });
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** 0.1234 -> "12.3 %". */
export function percent(share: number, places = 1): string {
  if (!Number.isFinite(share)) return "–";
  return `${(100 * share).toFixed(places)} %`;
}

export function bytes(size: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let step = 0;
  while (size >= 1000 && step < units.length - 1) {
    size /= 1000;
    step += 1;
  }
  return `${step === 0 ? size : number(size, 2)} ${units[step]}`;
}

/** Seconds as a length of time: "8 s", "3 min", "2 h 5 min". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return rest ? `${Math.floor(minutes / 60)} h ${rest} min` : `${Math.floor(minutes / 60)} h`;
}

/** "14:05" today, "3 May, 14:05" before. */
export function clock(date: Date, now = new Date()): string {
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === now.toDateString()) return time;
  return `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}

/** A unit as it is printed: um -> µm, mm3 -> mm³, um^2 -> µm². */
export function unit(name: string | null | undefined): string {
  if (!name) return "";
  return name
    .replace(/\bum/g, "µm")
    .replace(/\^?2\b/g, "²")
    .replace(/\^?3\b/g, "³");
}

/** "mean_diameter_px" -> "mean diameter". */
export function words(name: string): string {
  const text = name.replace(/_/g, " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
