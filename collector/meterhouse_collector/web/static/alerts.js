// The open alerts; what begins and ends is announced once, in words.

import { ago, number, percent } from "/format.js";
import { $, element, say } from "/dom.js";

let known = null;

const key = (alert) => `${alert.name} ${JSON.stringify(alert.labels)}`;
const words = (alert) => `${alert.name.replaceAll(/[:_]/g, " ")}${Object.entries(alert.labels).filter(([name, value]) => name !== "site" && !alert.name.includes(value)).map(([, value]) => `, ${value}`).join("")}`;

function figure({ value, limit, unit }) {
  const show = (amount) => (unit === "ratio" ? percent(amount) : `${number(amount, Number.isInteger(amount) || Math.abs(amount) >= 100 ? 0 : 2)} ${unit}`);
  return `${show(value)}, limit ${show(limit)}`;
}

// What is about a node leads to it.
function headline(alert, open) {
  const text = alert.summary || words(alert);
  const { node } = alert.labels;
  if (!node) return element("b", { text });
  const button = element("button", { text, type: "button", "data-alert": key(alert) });
  button.addEventListener("click", () => open(node));
  return element("b", {}, button);
}

export function alerts(found, now, open) {
  const parts = [];
  if (found.firing) parts.push(`${found.firing} firing`);
  if (found.pending) parts.push(`${found.pending} pending`);
  say($("alerts-note"), `${parts.join(", ") || "none is open"}${found.left_out ? `; ${found.left_out} more are not shown` : ""}`);
  const focused = document.activeElement?.dataset?.alert;
  $("alerts").replaceChildren(...found.list.map((alert) => {
    const entry = element("li", { "data-phase": alert.phase, "data-severity": alert.severity });
    entry.append(
      element("span", { className: "mark", text: alert.phase === "firing" ? "▲" : "△", "aria-hidden": "true" }),
      headline(alert, open),
      element("span", { className: "since", text: `${alert.phase === "firing" ? alert.severity : "pending"}, ${ago(Math.max(0, now - alert.since_seconds))}` }),
    );
    if (alert.summary) entry.title = words(alert);
    else entry.append(element("span", { className: "amount", text: figure(alert) }));
    return entry;
  }));
  if (focused) $("alerts").querySelector(`[data-alert="${CSS.escape(focused)}"]`)?.focus();
  announce(found.list.filter((alert) => alert.phase === "firing"));
}

function announce(firing) {
  const now = new Map(firing.map((alert) => [key(alert), alert.summary || words(alert)]));
  if (known) {
    const news = [...[...now].filter(([each]) => !known.has(each)).map(([, text]) => `alert: ${text}`), ...[...known].filter(([each]) => !now.has(each)).map(([, text]) => `over: ${text}`)];
    if (news.length) say($("announcer"), news.join("; "));
  }
  known = now;
}
