// The past of a span that can be chosen: from the server, with each event's step added to the live one.

import { Chart } from "/chart.js";
import { clock, count, NONE, number, percent, watts } from "/format.js";
import { $, element, say, STATES, table } from "/dom.js";
import { MAIN } from "/kpis.js";

const REFRESH_MILLISECONDS = { window: 60_000, hour: 15_000, day: 60_000 };
const TITLES = { states: "states of accelerators", power: "power", tokens: "output tokens per second" };
const charts = {};
let span = "window";
let past = null;
let currency = "";
let asked = 0;
let askedAt = 0;

export function start() {
  for (const figure of document.querySelectorAll("figure.chart[data-series]")) {
    const name = figure.dataset.series;
    charts[name] = new Chart(figure, TITLES[name] ?? MAIN[name].title);
  }
  for (const button of document.querySelectorAll("#spans input")) {
    button.addEventListener("change", () => {
      span = button.value;
      load();
    });
  }
  $("past").closest("details").addEventListener("toggle", asTable);
}

// A step that follows the last one is added; where one is missing all of it is asked for again.
export function add(latest, money, seconds) {
  currency = money;
  const old = performance.now() - askedAt > REFRESH_MILLISECONDS[span];
  if (!past || old) return load();
  if (span !== "window" || !latest.start_seconds.length) return;
  const [start] = latest.start_seconds;
  const last = past.start_seconds.at(-1);
  if (latest.step_seconds !== past.step_seconds || start > last + past.step_seconds || start < last) return load();
  say($("past-note"), "");
  merge(past, latest, start === last, Math.ceil(seconds / past.step_seconds));
  render();
}

function merge(into, from, replaces, most) {
  for (const [key, value] of Object.entries(from)) {
    if (Array.isArray(value)) {
      if (replaces) into[key].pop();
      into[key].push(value[0]);
      if (into[key].length > most) into[key].splice(0, into[key].length - most);
    } else if (typeof value === "object") merge(into[key], value, replaces, most);
  }
}

async function load() {
  asked += 1;
  const mine = asked;
  askedAt = performance.now();
  try {
    const answer = await fetch(`/api/history?span=${span}`);
    if (!answer.ok) throw new Error(await answer.text());
    const found = await answer.json();
    // Another span may have been chosen while this one was on its way.
    if (mine !== asked) return;
    past = found;
    say($("past-note"), past.start_seconds.length ? "" : "nothing is kept of this time yet");
    render();
  } catch (error) {
    say($("past-note"), error instanceof TypeError ? "the history cannot be reached" : String(error.message).trim());
  }
}

function render() {
  document.body.dataset.past = `${span} ${past.start_seconds.at(-1) ?? ""}`;
  const { start_seconds: starts, step_seconds: step } = past;
  for (const [name, { show, range, money }] of Object.entries(MAIN)) {
    const series = past.kpis[name] ?? { value: [], low: [], high: [] };
    const [low, high] = range(series.value.filter((value) => value !== null));
    charts[name].draw({
      starts, step, low, high, format: (v) => (name === "idle_capacity_ratio" ? percent(v, 0) : number(v, 2)),
      lines: [{ values: series.value }], bands: [{ low: series.low, high: series.high }],
      read: (at) => `${show(series.value[at])}${money && series.value[at] !== null ? ` ${currency}` : ""}`,
    });
  }
  const pair = [past.facility_watts, past.it_watts];
  charts.power.draw({
    starts, step, low: 0, high: Math.max(1, ...pair.flat()) * 1.1, format: watts,
    lines: [{ values: pair[0], className: "facility" }, { values: pair[1], className: "it" }],
    read: (at) => `facility ${watts(pair[0][at])}, IT ${watts(pair[1][at])}`,
  });
  const tokens = past.output_tokens_per_second;
  charts.tokens.draw({
    starts, step, low: 0, high: Math.max(1, ...tokens) * 1.1, format: count, lines: [{ values: tokens }],
    read: (at) => `${count(tokens[at])}/s`,
  });
  shares(past);
  asTable();
}

function shares({ start_seconds: starts, step_seconds: step, states: columns }) {
  const names = Object.keys(STATES).filter((state) => columns[state]);
  const totals = starts.map((_, at) => names.reduce((sum, state) => sum + columns[state][at], 0));
  let below = starts.map((_, at) => (totals[at] > 0 ? 0 : null));
  const areas = names.map((state) => {
    const low = below;
    below = low.map((value, at) => (value === null ? null : value + columns[state][at] / totals[at]));
    return { low, high: below, className: state };
  });
  charts.states.draw({
    starts, step, low: 0, high: 1, areas, format: (v) => percent(v, 0),
    read: (at) => names.map((state) => `${STATES[state]} ${percent(totals[at] > 0 ? columns[state][at] / totals[at] : null, 0)}`).join(", "),
  });
}

// The same steps as numbers, the newest first; made only while somebody looks.
function asTable() {
  if (!past || !$("past").closest("details").open) return;
  const names = Object.keys(MAIN);
  const rows = past.start_seconds.map((start, at) => {
    const total = Object.keys(STATES).reduce((sum, state) => sum + (past.states[state]?.[at] ?? 0), 0);
    return { cells: [
      element("th", { text: clock(start) }),
      ...names.map((name) => MAIN[name].show(past.kpis[name]?.value[at] ?? null)),
      watts(past.facility_watts[at]), watts(past.it_watts[at]), count(past.output_tokens_per_second[at]),
      ...Object.keys(STATES).map((state) => (total > 0 ? percent(past.states[state][at] / total) : NONE)),
    ] };
  });
  table($("past"), ["from", ...names.map((name) => MAIN[name].title), "facility", "IT", "tokens/s", ...Object.values(STATES)], rows.reverse());
}
