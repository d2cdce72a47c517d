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

function scaled(value, unit, steps) {
  if (value === null || value === undefined) return NONE;
  const [scale, prefix] = steps.find(([least]) => Math.abs(value) >= least) ?? steps[steps.length - 1];
  const shown = value / scale;
  return `${number(shown, Math.abs(shown) >= 100 ? 0 : Math.abs(shown) >= 10 ? 1 : 2)} ${prefix}${unit}`;
}

export const watts = (value) => scaled(value, "W", [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]]);
export const energy = (joules) => scaled(joules === null ? null : joules / 3600, "Wh", [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]]);
export const count = (value) => scaled(value, "", [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"], [1, ""]]).trim();
export const deviceHours = (seconds) => (seconds === null || seconds === undefined ? NONE : `${number(seconds / 3600, 2)} device-h`);

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
