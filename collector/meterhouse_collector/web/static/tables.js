// The tables: money, groups, nodes, agents.

import { ago, count, NONE, number, percent, watts } from "/format.js";
import { $, element, say, STATES, table } from "/dom.js";

const HEADINGS = { idle_capacity_ratio: "idle", cost_per_million_output_tokens: "per M output", cost_per_million_tokens: "per M of all" };
const MARKS = { online: "●", silent: "▲", offline: "✕", unseen: "○" };
const WORDS = { online: "online", silent: "silent", offline: "offline", unseen: "never seen" };
const NAMES = Object.keys(STATES);

const swatch = (state) => element("th", {}, element("i", { className: state }), STATES[state]);

export function matrix({ money, window: over }) {
  const hours = over ? (over.end_seconds - over.start_seconds) / 3600 : 0;
  const show = (value) => (money && hours > 0 ? number(value / hours, 2) : NONE);
  const kinds = money ? Object.entries(money.matrix) : [["capital", null], ["energy", null]];
  const rows = kinds.map(([kind, parts]) => ({ cells: [kind, ...NAMES.map((state) => show(parts?.[state])), show(parts && NAMES.reduce((sum, state) => sum + parts[state], 0))] }));
  const total = (state) => kinds.reduce((sum, [, parts]) => sum + (parts?.[state] ?? 0), 0);
  rows.push({ cells: ["all", ...NAMES.map((state) => show(total(state))), show(money?.total)], className: "sum" });
  table($("money"), ["", ...NAMES.map(swatch), "all"], rows);
  const notes = money ? [`${money.currency} per hour, mean over the window`] : [NONE];
  if (money?.unpriced_device_seconds > 0) notes.push(`${count(money.unpriced_device_seconds)} device-seconds have no price and are left out`);
  if (money?.estimated_energy > 0) notes.push(`${number(money.estimated_energy / hours, 2)} of it fills gaps`);
  say($("money-note"), notes.join("; "));
}

function mini(states, installed) {
  const words = [];
  const bar = element("span", { className: "mini", role: "img" });
  for (const state of NAMES) {
    const part = installed > 0 ? states[state] / installed : 0;
    const piece = element("span", { className: state });
    piece.style.width = `${part * 100}%`;
    bar.append(piece);
    words.push(`${STATES[state]} ${percent(part, 0)}`);
  }
  bar.setAttribute("aria-label", words.join(", "));
  bar.title = words.join(", ");
  return element("td", {}, bar);
}

export function groups(where, note, found, kpis, currency) {
  const models = kpis[0] !== "idle_capacity_ratio";
  const head = ["", "states", ...(models ? ["output tokens"] : []), ...kpis.map((name) => HEADINGS[name])];
  const rows = found.list.map((group) => ({ cells: [
    group.name, mini(group.states, group.installed), ...(models ? [count(group.output_tokens)] : []),
    ...kpis.map((name) => value(group.kpis[name], name, currency)),
  ] }));
  if (!rows.length) rows.push({ cells: head.map((_, at) => (at ? NONE : "none")) });
  table(where, head, rows);
  say(note, found.left_out ? `${found.left_out} more are not shown` : "");
}

function value(kpi, name, currency) {
  const ratio = name === "idle_capacity_ratio";
  const text = ratio || kpi.value === null ? (ratio ? percent(kpi.value) : NONE) : `${number(kpi.value, 3)} ${currency}`;
  const cell = element("td", { text });
  if (kpi.reason) {
    cell.title = kpi.reason;
    cell.append(element("span", { text: `: ${kpi.reason}`, className: "hidden" }));
  }
  return cell;
}

// The map as a table: the same nodes, with what each draws and costs.
export async function nodes(open) {
  if (!$("nodes").closest("details").open) return;
  let found;
  try {
    const answer = await fetch("/api/nodes");
    if (!answer.ok) throw new Error(await answer.text());
    found = await answer.json();
  } catch {
    return say($("nodes-note"), "the nodes cannot be reached");
  }
  const focused = document.activeElement?.dataset?.node;
  const rows = found.list.map((node) => {
    const button = element("button", { text: node.name, type: "button", "data-node": node.name });
    button.addEventListener("click", () => open(node.name));
    return { cells: [
      element("th", {}, button), node.pool, ...NAMES.map((state) => number(node.states[state], Number.isInteger(node.states[state]) ? 0 : 1)),
      watts(node.power_watts), count(node.output_tokens_per_second), node.money_per_hour === null ? NONE : `${number(node.money_per_hour, 2)} ${found.currency}`,
    ] };
  });
  table($("nodes"), ["", "pool", ...NAMES.map(swatch), "power", "tokens/s", "per hour"], rows);
  if (focused) $("nodes").querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
  say($("nodes-note"), found.list.length ? "" : "no interval is over yet");
}

export function agents(all, now) {
  const counts = Object.entries(all.counts).filter(([, many]) => many > 0).map(([state, many]) => `${many} ${WORDS[state]}`);
  const notes = [counts.join(", ") || "none yet"];
  if (all.waiting_reports > 0) notes.push(`${count(all.waiting_reports)} reports wait in their spools`);
  if (all.left_out > 0) notes.push(`${all.left_out} more are not shown`);
  say($("agents-note"), notes.join("; "));
  $("agents").replaceChildren(...all.list.map((agent) => {
    const entry = element("li", { "data-state": agent.state });
    entry.toggleAttribute("data-trouble", agent.troubles.length > 0);
    const seen = agent.last_seen_seconds === null ? WORDS.unseen : ago(Math.max(0, now - agent.last_seen_seconds));
    const waits = agent.waiting_reports > 0 ? `, ${agent.waiting_reports} wait` : "";
    entry.append(
      element("span", { className: "mark", text: MARKS[agent.state], role: "img", "aria-label": WORDS[agent.state] }),
      element("span", { className: "name", text: agent.name }),
      element("span", { className: "seen", text: `${agent.state === "online" ? "" : `${WORDS[agent.state]}, `}${seen}${waits}` }),
    );
    if (agent.troubles.length) entry.append(element("span", { className: "trouble", text: agent.troubles.join("; ") }));
    return entry;
  }));
}
