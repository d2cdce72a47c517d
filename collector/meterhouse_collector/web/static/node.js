// One node in a panel of its own: its devices as they are, their last states, and their last hour.

import { ago, clock, NONE, number, percent } from "/format.js";
import { $, element, LETTERS, say, shape, STATES } from "/dom.js";

const AGAIN_MILLISECONDS = 5000;
let shown = "";
let timer = 0;

const bytes = (value) => (value === null ? NONE : `${number(value / 2 ** 30, 1)} GiB`);
const celsius = (value) => (value === null ? NONE : `${number(value, 0)} °C`);

// Runs of one state as one strip along the time, the newest at the right.
function strip(states, starts) {
  const step = starts.length > 1 ? starts.at(-1) - starts.at(-2) : 1;
  const at = (position) => (starts[position] ?? starts.at(-1) + step) - starts[0];
  const drawing = shape("svg", { viewBox: `0 0 ${Math.max(1, at(states.length))} 1`, preserveAspectRatio: "none", class: "strip", role: "img" });
  const words = [];
  for (let from = 0; from < states.length;) {
    let end = from;
    while (states[end] === states[from]) end += 1;
    drawing.append(shape("rect", { class: LETTERS[states[from]], x: at(from), y: 0, width: at(end) - at(from), height: 1 }));
    words.push(`${STATES[LETTERS[states[from]]]} for ${Math.round(at(end) - at(from))} s`);
    from = end;
  }
  drawing.setAttribute("aria-label", words.slice(-6).join(", then ") || "no states yet");
  drawing.append(shape("title", {}, words.slice(-6).join(", then ")));
  return drawing;
}

function line(values, label) {
  const known = values.filter((value) => value !== null);
  const drawing = shape("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": known.length ? `${label}, from ${number(Math.min(...known))} to ${number(Math.max(...known))}` : `${label}: nothing is kept yet` });
  const most = Math.max(1, ...known) * 1.05;
  let d = "";
  values.forEach((value, at) => {
    if (value === null) return;
    const x = values.length > 1 ? (at / (values.length - 1)) * 100 : 100;
    d += `${at > 0 && values[at - 1] !== null ? "L" : "M"}${x.toFixed(2)} ${(19 - (value / most) * 18).toFixed(2)}`;
  });
  drawing.append(shape("path", { class: "line", d: d.includes("L") ? d : `${d}h0.1`.replace(/^h.*/, "") }));
  return drawing;
}

// A reason belongs to the unhealthy part of the interval, which need not be most of it.
function words(state, reason) {
  if (!reason) return STATES[state];
  return state === "unhealthy" ? `${STATES[state]}: ${reason}` : `${STATES[state]}; in part unhealthy: ${reason}`;
}

function row(device, node) {
  const { readings } = device;
  const state = LETTERS[device.states.at(-1) ?? "u"];
  const name = element("th", { scope: "row" }, element("i", { className: state }), device.name);
  name.append(element("small", { text: words(state, device.unhealthy_reason) }));
  const cell = (text, ...more) => element("td", {}, ...more, element("span", { text }));
  return element("tr", { "data-device": device.name, "data-state": state },
    name,
    element("td", { className: "wide" }, strip(device.states, node.start_seconds)),
    cell(readings.power_watts === null ? NONE : `${number(readings.power_watts)} W`, line(device.past.power_watts, `power of ${device.name} in watts`)),
    cell(celsius(readings.temperature_celsius), line(device.past.temperature_celsius, `temperature of ${device.name} in degrees`)),
    cell(percent(readings.utilization_ratio, 0)), cell(percent(readings.sm_activity_ratio, 0)), cell(bytes(readings.memory_used_bytes)));
}

async function load() {
  const name = shown;
  try {
    const answer = await fetch(`/api/nodes/${encodeURIComponent(name)}`);
    if (name !== shown) return;
    if (!answer.ok) return say($("node-note"), (await answer.text()).trim());
    const node = await answer.json();
    const since = node.start_seconds.length ? `states since ${clock(node.start_seconds[0])}` : "it has not reported yet";
    const down = node.said_down === null ? "" : `down: ${node.said_down}; `;
    say($("node-note"), `${down}pool ${node.pool}, cluster ${node.cluster}${node.tenant === "none" ? "" : `, tenant ${node.tenant}`}; ${since}${node.reading_seconds === null ? "" : `; readings ${ago(Math.max(0, Date.now() / 1000 - node.reading_seconds))}`}`);
    $("node-devices").tBodies[0].replaceChildren(...node.devices.map((device) => row(device, node)));
  } catch {
    say($("node-note"), "the node cannot be reached; trying again");
  }
}

export function openNode(name) {
  shown = name;
  say($("node-name"), name);
  say($("node-note"), "…");
  $("node-devices").tBodies[0].replaceChildren();
  if (!$("node").open) $("node").showModal();
  history.replaceState(null, "", `#node=${encodeURIComponent(name)}`);
  clearInterval(timer);
  timer = setInterval(load, AGAIN_MILLISECONDS);
  load();
}

export function startNode() {
  $("node").addEventListener("close", () => {
    clearInterval(timer);
    shown = "";
    history.replaceState(null, "", location.pathname);
  });
  $("node-close").addEventListener("click", () => $("node").close());
  $("node").addEventListener("click", (event) => {
    if (event.target === $("node")) $("node").close();
  });
  const asked = /^#node=(.+)$/.exec(location.hash);
  if (asked) openNode(decodeURIComponent(asked[1]));
}
