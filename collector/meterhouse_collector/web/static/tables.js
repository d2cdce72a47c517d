// The tables below the charts: money, groups, agents.

import { ago, count, NONE, number, percent } from "/format.js";

const HEADINGS = { idle_capacity_ratio: "idle", cost_per_million_output_tokens: "per M output", cost_per_million_tokens: "per M of all" };
const MARKS = { online: "●", silent: "▲", offline: "✕", unseen: "○" };
const WORDS = { online: "online", silent: "silent", offline: "offline", unseen: "never seen" };
const $ = (id) => document.getElementById(id);

function cell(name, content, className = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(content);
  return element;
}

function row(cells, className = "") {
  const element = document.createElement("tr");
  if (className) element.className = className;
  element.append(...cells);
  return element;
}

function headings(names, STATES) {
  return row(names.map((name) => {
    const heading = cell("th", "", name in STATES ? name : "");
    heading.scope = "col";
    if (name in STATES) heading.append(document.createElement("i"));
    heading.append(STATES[name] ?? name);
    return heading;
  }));
}

function first(text) {
  const heading = cell("th", text);
  heading.scope = "row";
  return heading;
}

export function matrix({ money, window: over }, STATES) {
  const table = $("money");
  table.tHead.replaceChildren(headings(["", ...Object.keys(STATES), "all"], STATES));
  const names = Object.keys(STATES);
  const hours = over ? (over.end_seconds - over.start_seconds) / 3600 : 0;
  const show = (value) => (money && hours > 0 ? number(value / hours, 2) : NONE);
  const kinds = money ? Object.entries(money.matrix) : [["capital", null], ["energy", null]];
  const rows = kinds.map(([kind, parts]) => row([
    first(kind),
    ...names.map((state) => cell("td", show(parts?.[state]))),
    cell("td", show(parts && names.reduce((sum, state) => sum + parts[state], 0))),
  ]));
  const total = (state) => kinds.reduce((sum, [, parts]) => sum + (parts?.[state] ?? 0), 0);
  rows.push(row([first("all"), ...names.map((state) => cell("td", show(total(state)))), cell("td", show(money?.total))], "sum"));
  table.tBodies[0].replaceChildren(...rows);
  const notes = money ? [`${money.currency} per hour, mean over the window`] : [NONE];
  if (money?.unpriced_device_seconds > 0) notes.push(`${count(money.unpriced_device_seconds)} device-seconds have no price and are left out`);
  if (money?.estimated_energy > 0) notes.push(`${number(money.estimated_energy / hours, 2)} of it fills gaps`);
  $("money-note").textContent = notes.join("; ");
}

export function groups(table, note, found, STATES, kpis, currency) {
  const head = ["", "states", ...(kpis[0] === "idle_capacity_ratio" ? [] : ["output tokens"]), ...kpis.map((name) => HEADINGS[name])];
  table.tHead.replaceChildren(headings(head, {}));
  table.tBodies[0].replaceChildren(...found.list.map((group) => {
    const mini = cell("span", "", "mini");
    const words = [];
    for (const state of Object.keys(STATES)) {
      const part = group.installed > 0 ? group.states[state] / group.installed : 0;
      const piece = cell("span", "", state);
      piece.style.width = `${part * 100}%`;
      mini.append(piece);
      words.push(`${STATES[state]} ${percent(part, 0)}`);
    }
    mini.setAttribute("role", "img");
    mini.setAttribute("aria-label", words.join(", "));
    mini.title = words.join(", ");
    const cells = [first(group.name), cell("td", mini)];
    if (kpis[0] !== "idle_capacity_ratio") cells.push(cell("td", count(group.output_tokens)));
    return row([...cells, ...kpis.map((name) => value(group.kpis[name], name, currency))]);
  }));
  if (!found.list.length) table.tBodies[0].replaceChildren(row(head.map((_, at) => cell("td", at ? NONE : "none"))));
  note.textContent = found.left_out ? `${found.left_out} more are not shown` : "";
}

function value(kpi, name, currency) {
  const element = cell("td", name === "idle_capacity_ratio" ? percent(kpi.value) : number(kpi.value, 3));
  if (kpi.value !== null && name !== "idle_capacity_ratio") element.append(` ${currency}`);
  if (kpi.reason) {
    element.title = kpi.reason;
    element.append(cell("span", `: ${kpi.reason}`, "hidden"));
  }
  return element;
}

export function agents(all, now) {
  const counts = Object.entries(all.counts).filter(([, number_]) => number_ > 0).map(([state, number_]) => `${number_} ${WORDS[state]}`);
  const notes = [counts.join(", ") || "none yet"];
  if (all.waiting_reports > 0) notes.push(`${count(all.waiting_reports)} reports wait in their spools`);
  if (all.left_out > 0) notes.push(`${all.left_out} more are not shown`);
  $("agents-note").textContent = notes.join("; ");
  $("agents").replaceChildren(...all.list.map((agent) => {
    const entry = document.createElement("li");
    entry.dataset.state = agent.state;
    entry.toggleAttribute("data-trouble", agent.troubles.length > 0);
    const mark = cell("span", MARKS[agent.state], "mark");
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", WORDS[agent.state]);
    const seen = agent.last_seen_seconds === null ? WORDS.unseen : ago(Math.max(0, now - agent.last_seen_seconds));
    const waits = agent.waiting_reports > 0 ? `, ${agent.waiting_reports} wait` : "";
    entry.append(mark, cell("span", agent.name, "name"), cell("span", `${agent.state === "online" ? "" : `${WORDS[agent.state]}, `}${seen}${waits}`, "seen"));
    if (agent.troubles.length) entry.append(cell("span", agent.troubles.join("; "), "trouble"));
    return entry;
  }));
}
