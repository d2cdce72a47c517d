// The live page: takes snapshots from /events, shows them, and says when they are stale.

import { Chart } from "/chart.js";
import { ago, clock, count, coverage, deviceTime, energy, money, NONE, number, percent, watts } from "/format.js";
import { agents, groups, matrix } from "/tables.js";

const STATES = { active: "active", held_idle: "held, idle", free: "free", unhealthy: "unhealthy", unknown: "unknown" };
const MARGIN_SECONDS = 2;
const RETRY_MILLISECONDS = 3000;
const $ = (id) => document.getElementById(id);

const KPIS = {
  pue: { show: (v) => number(v, 3), unit: "", parts: energy, range: (values) => [1, Math.max(1.5, ...values) * 1.02] },
  idle_capacity_ratio: { show: (v) => percent(v), unit: "", parts: deviceTime, range: () => [0, 1] },
  cost_per_million_output_tokens: { show: (v) => number(v, 3), unit: "currency", parts: null, range: (values) => [0, Math.max(0.001, ...values) * 1.15] },
};

const TITLES = { pue: "PUE", idle_capacity_ratio: "idle capacity", cost_per_million_output_tokens: "cost per million output tokens", states: "states of accelerators", power: "power", tokens: "output tokens per second" };
const charts = {};
for (const figure of document.querySelectorAll("figure.chart")) {
  charts[figure.dataset.series] = new Chart(figure, TITLES[figure.dataset.series]);
}
for (const [state, label] of Object.entries(STATES)) {
  const part = document.createElement("span");
  part.className = state;
  $("bar").append(part);
  const entry = document.createElement("li");
  entry.className = state;
  entry.dataset.state = state;
  for (const name of ["i", "b", "span"]) entry.append(document.createElement(name));
  entry.children[1].textContent = NONE;
  entry.children[2].textContent = label;
  $("legend").append(entry);
}

let last = null;
let heardAt = 0;
let connected = false;

function data(element, value, text) {
  element.textContent = text;
  if (value === null || value === undefined) element.removeAttribute("value");
  else element.value = String(value);
}

function kpi(card, value, all, currency) {
  const { show, unit, parts } = KPIS[card.dataset.kpi];
  const main = card.querySelector(".value");
  data(main.querySelector("data"), value.value, show(value.value));
  main.querySelector("small")?.remove();
  if (unit && value.value !== null) {
    const small = document.createElement("small");
    small.textContent = currency;
    main.append(small);
  }
  card.querySelector(".label").textContent = value.label;
  const reason = card.querySelector(".reason");
  reason.dataset.formula ??= reason.textContent;
  reason.textContent = value.reason ?? reason.dataset.formula;
  reason.toggleAttribute("data-reason", Boolean(value.reason));
  const part = (name, text) => {
    const element = card.querySelector(`[data-part="${name}"]`);
    if (element) element.textContent = text;
  };
  part("numerator", parts ? parts(value.numerator) : money(value.numerator, currency));
  part("denominator", parts ? parts(value.denominator) : count(value.denominator));
  part("coverage", coverage(value.coverage));
  part("bounds", value.low === null ? NONE : `${percent(value.low)} to ${percent(value.high)}`);
  const other = ["cost_per_million_tokens", "cost_per_million_computed_tokens"].map((name) => number(all[name].value, 3));
  part("others", other.map((text) => (text === NONE ? text : `${text} ${currency}`)).join(", "));
}

function states(document_) {
  const { states: seconds, installed, window: over } = document_;
  const length = over ? over.end_seconds - over.start_seconds : 0;
  const words = [];
  for (const [state, label] of Object.entries(STATES)) {
    const part = seconds && installed > 0 ? seconds[state] / installed : null;
    $("bar").querySelector(`.${state}`).style.width = part === null ? "0" : `${part * 100}%`;
    const entry = $("legend").querySelector(`.${state}`);
    entry.children[1].textContent = percent(part);
    entry.children[2].textContent = part === null ? label : `${label}, ${number(seconds[state] / length, 1)} devices`;
    words.push(`${label} ${percent(part)}`);
  }
  $("bar").setAttribute("aria-label", words.join(", "));
  $("installed").textContent = seconds && length ? `${number(installed / length, 0)} accelerators installed, mean over the window` : NONE;
}

function history(past, currency) {
  const { start_seconds: starts, step_seconds: step } = past;
  for (const [name, { show, range }] of Object.entries(KPIS)) {
    const series = past.kpis[name] ?? { value: [], low: [], high: [] };
    const [low, high] = range(series.value.filter((value) => value !== null));
    charts[name].draw({
      starts, step, low, high, format: (v) => (name === "idle_capacity_ratio" ? percent(v, 0) : number(v, 2)),
      lines: [{ values: series.value }], bands: [{ low: series.low, high: series.high }],
      read: (at) => `${show(series.value[at])}${name.startsWith("cost") && series.value[at] !== null ? ` ${currency}` : ""}`,
    });
  }
  const pair = [past.facility_watts, past.it_watts];
  charts.power.draw({
    starts, step, low: 0, high: Math.max(1, ...pair.flat()) * 1.1, format: watts,
    lines: [{ values: pair[0] }, { values: pair[1], className: "dashed" }],
    read: (at) => `facility ${watts(pair[0][at])}, IT ${watts(pair[1][at])}`,
  });
  const tokens = past.output_tokens_per_second;
  charts.tokens.draw({
    starts, step, low: 0, high: Math.max(1, ...tokens) * 1.1, format: count, lines: [{ values: tokens }],
    read: (at) => `${count(tokens[at])}/s`,
  });
  shares(past);
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

function render(document_) {
  const { window: over, kpis, power, tokens } = document_;
  const currency = document_.money?.currency ?? "";
  document.body.dataset.end = over ? over.end_seconds : "";
  $("site").textContent = document_.site;
  $("version").textContent = `Meterhouse ${document_.version}`;
  $("window").textContent = over
    ? `${clock(over.start_seconds)} to ${clock(over.end_seconds)}, every ${document_.interval_seconds} s`
    : "waiting for the first interval";
  for (const card of document.querySelectorAll(".kpi")) kpi(card, kpis[card.dataset.kpi], kpis, currency);
  states(document_);
  data($("facility"), power.facility_watts, watts(power.facility_watts));
  data($("it"), power.it_watts, watts(power.it_watts));
  $("power-reason").textContent = power.reason ?? "mean over the window";
  data($("output"), tokens.output_per_second, count(tokens.output_per_second));
  data($("input"), tokens.input_per_second, count(tokens.input_per_second));
  $("tokens-reason").textContent = tokens.reason ?? `engines covered: ${coverage(tokens.coverage)}${tokens.coverage < 1 ? ", so at least this" : ""}`;
  history(document_.history, currency);
  matrix(document_, STATES);
  groups($("pools"), $("pools-note"), document_.pools, STATES, ["idle_capacity_ratio", "cost_per_million_output_tokens"], currency);
  groups($("models"), $("models-note"), document_.served_models, STATES, ["cost_per_million_output_tokens", "cost_per_million_tokens"], currency);
  agents(document_.agents, document_.at_seconds);
  const shown = kpis.pue.value === null ? "" : `PUE ${number(kpis.pue.value, 2)}, `;
  document.title = `${shown}${document_.site}: Meterhouse`;
}

function condition() {
  const text = $("connection-text");
  const silent = (performance.now() - heardAt) / 1000;
  let state = "live";
  let words = "live";
  let age = "";
  if (!last) [state, words] = ["waiting", connected ? "waiting for figures" : "connecting"];
  else {
    const patience = 3 * last.interval_seconds + last.grace_seconds + MARGIN_SECONDS;
    const old = last.window ? last.at_seconds - last.window.end_seconds : 0;
    if (silent > patience || old > patience) [state, words] = ["stale", "stale"];
    if (!connected) [state, words] = ["lost", "stale, reconnecting"];
    if (state !== "live") age = ago(silent + old);
  }
  document.body.toggleAttribute("data-stale", state === "stale" || state === "lost");
  $("connection").dataset.state = state;
  // Only a change of state is announced, not each second of it.
  if (text.textContent !== words) text.textContent = words;
  $("connection-age").textContent = age;
}

function connect() {
  const stream = new EventSource("/events");
  stream.onopen = () => {
    connected = true;
    condition();
  };
  stream.onmessage = (event) => {
    last = JSON.parse(event.data);
    heardAt = performance.now();
    connected = true;
    render(last);
    condition();
  };
  stream.onerror = () => {
    connected = false;
    condition();
    // The browser gives up after an answer like 503; this does not.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MILLISECONDS);
  };
}

matrix({ money: null, window: null }, STATES);
setInterval(condition, 1000);
connect();
