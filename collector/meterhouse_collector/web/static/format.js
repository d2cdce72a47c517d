// Numbers as people read them; null is "—", never 0.

export const NONE = "—";
const fixed = new Map();

export function number(value, digits = 0) {
  if (value === null || value === undefined) return NONE;
  if (!fixed.has(digits)) {
    fixed.set(digits, new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return fixed.get(digits).format(value);
}

export const percent = (value, digits = 1) => (value === null || value === undefined ? NONE : `${number(value * 100, digits)} %`);

// Never rounded up to a whole: 99.96 % covered is not all.
export function coverage(value) {
  if (value === null || value === undefined) return NONE;
  return value >= 1 ? "100 %" : percent(Math.floor(value * 1000) / 1000);
}

const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];

// Three digits that count, and a prefix.
function scaled(value, unit) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return `0 ${unit}`.trim();
  const [scale, prefix] = PREFIXES.find(([least]) => Math.abs(value) >= least) ?? PREFIXES.at(-1);
  const shown = value / scale;
  const digits = Math.abs(shown) >= 100 ? 0 : Math.abs(shown) >= 10 ? 1 : 2;
  return `${number(shown, digits)} ${prefix}${unit}`.trim();
}

export const watts = (value) => scaled(value, "W");
export const energy = (joules) => scaled(joules === null || joules === undefined ? null : joules / 3600, "Wh");
export const count = (value) => (value < 10_000 ? number(value) : scaled(value, ""));

export function deviceTime(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  return seconds < 3600 ? `${number(seconds)} device-s` : `${scaled(seconds / 3600, "")} device-h`;
}

export function money(value, currency, digits = 2) {
  if (value === null || value === undefined) return NONE;
  return `${number(value, value !== 0 && Math.abs(value) < 1 ? Math.max(digits, 4) : digits)} ${currency}`;
}

export function ago(seconds) {
  if (seconds < 1.5) return "just now";
  if (seconds < 120) return `${Math.round(seconds)} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
