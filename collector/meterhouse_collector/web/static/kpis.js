// The three figures, drawn large, with their parts, bounds, coverage and reason; and the quiet rest.

import { count, coverage, deviceTime, energy, money, NONE, number, percent } from "/format.js";
import { draw } from "/glyphs.js";
import { $, element, say, table } from "/dom.js";

export const MAIN = {
  pue: { title: "PUE", show: (v) => number(v, 3), parts: energy, range: (values) => [1, Math.max(1.5, ...values) * 1.02] },
  idle_capacity_ratio: { title: "idle capacity", show: (v) => percent(v), parts: deviceTime, range: () => [0, 1] },
  cost_per_million_output_tokens: { title: "cost per million output tokens", show: (v) => number(v, 3), parts: null, money: true, range: (values) => [0, Math.max(0.001, ...values) * 1.15] },
};
const OTHERS = ["cost_per_million_tokens", "cost_per_million_computed_tokens"];
const WORDS = { pue: "PUE", wue: "WUE", cue: "CUE", ref: "REF", erf: "ERF", ups: "UPS", };

export function kpi(card, value, all, currency) {
  const { show, parts, money: priced } = MAIN[card.dataset.kpi];
  const text = show(value.value);
  const data = card.querySelector("data");
  say(data, text);
  if (value.value === null) data.removeAttribute("value");
  else data.value = String(value.value);
  draw(card.querySelector("svg.figure"), text);
  say(card.querySelector(".unit"), priced && value.value !== null ? currency : "");
  say(card.querySelector(".label"), value.label);
  const reason = card.querySelector(".reason");
  reason.dataset.formula ??= reason.textContent;
  say(reason, value.reason ?? reason.dataset.formula);
  reason.toggleAttribute("data-reason", Boolean(value.reason));
  const part = (name, words) => {
    const where = card.querySelector(`[data-part="${name}"]`);
    if (where) say(where, words);
  };
  part("numerator", parts ? parts(value.numerator) : money(value.numerator, currency));
  part("denominator", parts ? parts(value.denominator) : count(value.denominator));
  part("coverage", coverage(value.coverage));
  part("bounds", value.low === null ? NONE : `${percent(value.low)} to ${percent(value.high)}`);
  const other = OTHERS.map((name) => number(all[name]?.value, 3));
  part("others", other.map((each) => (each === NONE ? each : `${each} ${currency}`)).join(", "));
}

export function title(name) {
  const words = name.replace(/_(ratio|seconds)$/, "").replace(/_(p\d+)$/, ", $1").replaceAll("_", " ");
  return words.replace(/[a-z0-9]+/gi, (word) => WORDS[word] ?? word).replace(/^[a-z]/, (letter) => letter.toUpperCase());
}

export function shown(kpi_, name) {
  if (kpi_.value === null) return NONE;
  // A ratio that is no share of anything, and is not written as one.
  if (name === "pue") return MAIN.pue.show(kpi_.value);
  if (kpi_.unit === "ratio") return percent(kpi_.value, 2);
  if (kpi_.unit === "seconds") return `${number(kpi_.value, 3)} s`;
  const large = Math.abs(kpi_.value) >= 1000;
  return `${number(kpi_.value, large ? 0 : 3)} ${kpi_.unit}`;
}

export function others(kpis, formulas) {
  const rows = Object.entries(kpis).filter(([name]) => !(name in MAIN)).map(([name, value]) => {
    const what = element("th", { text: title(name) });
    what.append(element("small", { text: formulas[name] ?? value.label }));
    const figure = element("td", { text: shown(value, name) });
    figure.dataset.value = value.value === null ? "" : String(value.value);
    figure.dataset.kpiName = name;
    const bounds = value.low === null || value.high === null ? "" : value.unit === "ratio" ? `${percent(value.low)} to ${percent(value.high)}` : `${number(value.low, 3)} to ${number(value.high, 3)}`;
    return { cells: [what, figure, bounds, coverage(value.coverage), element("td", { text: value.reason ?? "", className: "why" })] };
  });
  table($("others"), ["", "value", "bounds", "covered", "reason"], rows);
}
