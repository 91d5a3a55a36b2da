// Light, dark, or what the system asks for.

const KEY = "catenary.theme";
const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export function theme(): Theme {
  const kept = localStorage.getItem(KEY);
  return THEMES.find((one) => one === kept) ?? "auto";
}

export function setTheme(value: Theme): void {
  if (value === "auto") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, value);
  applyTheme();
}

export function applyTheme(): void {
  const value = theme();
  if (value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
}

export function isDark(): boolean {
  const value = theme();
  return value === "dark" || (value === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
}
