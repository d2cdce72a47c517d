// The live page: takes what the events say, and has every part show it.

import { alerts } from "/alerts.js";
import { $, say } from "/dom.js";
import { path, waterfall } from "/flows.js";
import { clock, count, coverage, number, watts } from "/format.js";
import { add, start } from "/history.js";
import { kpi, others } from "/kpis.js";
import { FleetMap, legend } from "/map.js";
import { openNode, startNode } from "/node.js";
import { Stream } from "/stream.js";
import { agents, groups, matrix, nodes } from "/tables.js";
import { startWindows } from "/windows.js";

const map = new FleetMap(openNode);
let formulas = {};

function data(where, value, text) {
  say(where, text);
  if (value === null || value === undefined) where.removeAttribute("value");
  else where.value = String(value);
}

function render(found) {
  const { window: over, kpis, power, tokens } = found;
  const currency = found.money?.currency ?? "";
  const seconds = over ? over.end_seconds - over.start_seconds : 0;
  say($("site"), found.site);
  say($("version"), `Meterhouse ${found.version}`);
  say($("window"), over ? `${clock(over.start_seconds)} to ${clock(over.end_seconds)}, every ${found.interval_seconds} s` : "waiting for the first interval");
  for (const card of document.querySelectorAll(".kpi")) kpi(card, kpis[card.dataset.kpi], kpis, currency);
  legend(found.states, found.installed, seconds);
  map.show(found.cells);
  waterfall(found.levels, seconds);
  path(found.path);
  alerts(found.alerts, found.at_seconds, openNode);
  data($("facility"), power.facility_watts, watts(power.facility_watts));
  data($("it"), power.it_watts, watts(power.it_watts));
  say($("power-reason"), power.reason ?? "mean over the window");
  data($("output"), tokens.output_per_second, count(tokens.output_per_second));
  data($("input"), tokens.input_per_second, count(tokens.input_per_second));
  say($("tokens-reason"), tokens.reason ?? `engines covered: ${coverage(tokens.coverage)}${tokens.coverage < 1 ? ", so at least this" : ""}`);
  matrix(found);
  groups($("pools"), $("pools-note"), found.pools, ["idle_capacity_ratio", "cost_per_million_output_tokens"], currency);
  groups($("models"), $("models-note"), found.served_models, ["cost_per_million_output_tokens", "cost_per_million_tokens"], currency);
  others(kpis, formulas);
  nodes(openNode);
  agents(found.agents, found.at_seconds);
  add(found.latest, currency, found.window_seconds);
  document.title = `${kpis.pue.value === null ? "" : `PUE ${number(kpis.pue.value, 2)}, `}${found.site}: Meterhouse`;
  document.body.dataset.end = over ? over.end_seconds : "";
}

async function learn() {
  try {
    const answer = await fetch("/api/formulas");
    if (answer.ok) formulas = await answer.json();
  } catch {
    // Without them each KPI shows its label.
  }
}

$("nodes").closest("details").addEventListener("toggle", () => nodes(openNode));
matrix({ money: null, window: null });
start();
startNode();
startWindows();
learn();
new Stream("/events", render).start();
