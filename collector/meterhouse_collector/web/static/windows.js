// The KPIs of an hour, a day, the month so far and a year; asked for only while somebody looks.

import { count, coverage, NONE, percent } from "/format.js";
import { $, element, say, table } from "/dom.js";
import { MAIN, shown, title } from "/kpis.js";

const REFRESH_MILLISECONDS = 60_000;
const HEADINGS = { hour: "last hour", day: "last day", month_to_date: "month to date", trailing_year: "trailing year" };
const box = $("windows").closest("details");
let asking = false;

export function startWindows() {
  box.addEventListener("toggle", load);
  setInterval(load, REFRESH_MILLISECONDS);
}

// Where the table is too narrow for headings, each cell has its own.
function named(made, name) {
  made.dataset.window = HEADINGS[name];
  return made;
}

function cell(kpi, name) {
  const made = element("td", { text: kpi ? shown(kpi, name) : NONE });
  if (!kpi) return made;
  made.dataset.value = kpi.value === null ? "" : String(kpi.value);
  const why = kpi.reason ?? `${coverage(kpi.coverage)} covered`;
  made.append(element("small", { text: why }));
  return made;
}

const range = ({ low, high }) => (low === null || high === null ? NONE : `${percent(low, 2)} to ${percent(high, 2)}`);
const MET = { true: "met", false: "missed", null: "not known" };

function sloCell(slo) {
  if (!slo) return element("td", { text: NONE });
  const made = element("td", { text: slo.share === null ? range(slo) : `${percent(slo.share, 2)}, ${MET[slo.met]}` });
  made.dataset.value = slo.share === null ? "" : String(slo.share);
  const bounded = slo.share === null && slo.met !== null ? `${MET[slo.met]}; ` : "";
  made.append(element("small", { text: bounded + (slo.reason ?? `${count(slo.requests)} requests`) }));
  return made;
}

function renderSlos(found, windows) {
  const all = new Map(windows.flatMap((each) => found[each].slos).map((slo) => [slo.name, slo]));
  const where = $("slos");
  where.hidden = all.size === 0;
  const rows = [...all.values()].map(({ name, served_model, metric, threshold_seconds, objective_ratio }) => {
    const what = element("th", { text: name });
    const words = `${metric.replaceAll("_", " ")} of ${served_model} within ${threshold_seconds} s, for ${percent(objective_ratio, 2)}`;
    what.append(element("small", { text: words }));
    return { cells: [what, ...windows.map((each) => named(sloCell(found[each].slos.find((slo) => slo.name === name)), each))] };
  });
  table(where, ["latency objective", ...windows.map((name) => HEADINGS[name])], rows);
}

async function load() {
  if (!box.open || asking) return;
  asking = true;
  try {
    const answer = await fetch("/api/windows");
    if (!answer.ok) throw new Error(await answer.text());
    render(await answer.json());
    say($("windows-note"), "");
  } catch (error) {
    say($("windows-note"), error instanceof TypeError ? "the windows cannot be reached" : String(error.message).trim());
  } finally {
    asking = false;
  }
}

function render(found) {
  const windows = Object.keys(HEADINGS).filter((name) => found[name]);
  const names = [...new Set(windows.flatMap((name) => Object.keys(found[name].kpis)))];
  const rows = [...Object.keys(MAIN), ...names.filter((name) => !(name in MAIN))].map((name) => {
    const what = element("th", { text: MAIN[name]?.title.replace(/^[a-z]/, (letter) => letter.toUpperCase()) ?? title(name) });
    return { cells: [what, ...windows.map((each) => named(cell(found[each].kpis[name], name), each))] };
  });
  table($("windows"), ["", ...windows.map((name) => HEADINGS[name])], rows);
  renderSlos(found, windows);
}
