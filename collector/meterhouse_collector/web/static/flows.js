// The power path from the sources to the states, as bands as wide as their power; and the waterfall.

import { deviceTime, NONE, number, percent, watts } from "/format.js";
import { $, element, say, shape, STATES, table } from "/dom.js";

const WIDTH = 1000;
const HEIGHT = 300;
const BAR = 10;
const GAP = 16;
const APART = 25;
const COLUMNS = [0, 330, 660, 990];
const NAMES = { grid: "grid", ppa: "power purchase", on_site: "on site", fuel: "generators", storage: "storage", purchased_cooling: "purchased cooling" };

// Stacks ends in one column; each is {name, power, className, label}.
function stack(ends, x, scale) {
  const total = ends.reduce((sum, end) => sum + Math.max(1.5, end.power * scale), 0) + GAP * (ends.length - 1);
  let y = (HEIGHT - total) / 2;
  return ends.map((end) => {
    const high = Math.max(1.5, end.power * scale);
    const placed = { ...end, x, y, high, out: y, into: y };
    y += high + GAP;
    return placed;
  });
}

function band(from, to, power, scale, className) {
  const high = Math.max(0.75, power * scale);
  const [x1, x2] = [from.x + BAR, to.x];
  const middle = (x1 + x2) / 2;
  const [a, b] = [from.out, to.into];
  from.out += high;
  to.into += high;
  return shape("path", { class: `band ${className}`, d: `M${x1} ${a}C${middle} ${a} ${middle} ${b} ${x2} ${b}V${b + high}C${middle} ${b + high} ${middle} ${a + high} ${x1} ${a + high}Z` });
}

export function path(found) {
  const drawing = $("path");
  say($("path-note"), found.reason ?? `mean over ${number(found.covered_seconds)} s`);
  const rows = [];
  if (found.facility_watts === null || found.facility_watts <= 0) {
    drawing.replaceChildren();
    $("path-labels").replaceChildren();
    table($("path-table"), ["", "power", "of facility"], [{ cells: ["facility", NONE, NONE] }]);
    return;
  }
  const facility = found.facility_watts;
  const sources = found.sources.filter((each) => each.power_watts > 0);
  const loss = Math.max(0, found.loss_watts);
  const inside = [
    ...found.states.map((each) => ({ name: each.name, label: STATES[each.name], power: each.power_watts, className: each.name })),
    { name: "other", label: "other IT", power: found.other_it_watts, className: "other" },
  ].filter((each) => each.power > 0);
  const most = Math.max(facility, sources.reduce((sum, each) => sum + each.power_watts, 0), inside.reduce((sum, each) => sum + each.power, 0) + loss);
  const scale = (HEIGHT - GAP * 6) / most;
  const first = stack(sources.length ? sources.map((each) => ({ name: each.name, label: NAMES[each.name], power: each.power_watts, className: "facility" })) : [{ name: "sources", label: "sources not known", power: facility, className: "unknown" }], COLUMNS[0], scale);
  const [whole] = stack([{ name: "facility", label: "facility", power: facility, className: "facility" }], COLUMNS[1], scale);
  const [it, lost] = stack([{ name: "it", label: "IT", power: found.it_watts, className: "it" }, { name: "loss", label: "cooling and losses", power: loss, className: "loss" }], COLUMNS[2], scale);
  const last = stack(inside, COLUMNS[3], scale);
  const bands = [
    ...first.map((each) => band(each, whole, each.power, scale, each.className)),
    band(whole, it, it.power, scale, "it"),
    band(whole, lost, loss, scale, "loss"),
    ...last.map((each) => band(it, each, each.power, scale, each.className)),
  ];
  const ends = [...first, whole, it, lost, ...last];
  drawing.replaceChildren(...bands, ...ends.map((end) => shape("rect", { class: `end ${end.className}`, x: end.x, y: end.y, width: BAR, height: end.high })));
  label(ends);
  for (const end of [...first, whole, it, lost, ...last]) rows.push({ cells: [end.label, watts(end.power), percent(end.power / facility)] });
  for (const pool of found.pools) rows.push({ cells: [`pool ${pool.name}`, watts(pool.power_watts), percent(pool.power_watts / facility)] });
  if (found.ups_loss_watts !== null) rows.push({ cells: ["UPS loss", watts(found.ups_loss_watts), percent(found.ups_loss_watts / facility)] });
  table($("path-table"), ["", "power", "of facility"], rows);
}

// Beside the drawing, not in it: text keeps its size while the drawing stretches.
function label(ends) {
  const places = new Map();
  let [column, last] = [-1, -1];
  for (const end of ends) {
    // Those of one column keep apart, however thin what they name is.
    const least = end.x === column ? last + APART : 0;
    [column, last] = [end.x, Math.max(least, end.y + end.high / 2)];
    places.set(end, last);
  }
  const labels = ends.map((end) => {
    // What is lost is named on its own band: behind its bar stand the names of the states.
    const before = end.x > 900 || end.name === "loss";
    const made = element("span", { className: before ? "end" : "" }, element("b", { text: watts(end.power) }), ` ${end.label}`);
    if (before) made.style.right = `${(WIDTH - end.x) / 10}%`;
    else made.style.left = `${(end.x + BAR) / 10}%`;
    made.style.top = `${(places.get(end) / HEIGHT) * 100}%`;
    return made;
  });
  $("path-labels").replaceChildren(...labels);
}

export function waterfall(levels, seconds) {
  const installed = levels.find((each) => each.name === "installed")?.device_seconds ?? null;
  const most = Math.max(1, ...levels.map((each) => each.device_seconds ?? 0));
  const rows = levels.filter((each) => each.device_seconds !== null || each.name === "effective").map((each, at, all) => {
    const bar = element("span", { className: `fall ${each.name}`, "aria-hidden": "true" }, element("i"), element("s"));
    const before = at > 0 ? all[at - 1].device_seconds : each.device_seconds;
    const [now, fell] = [(each.device_seconds ?? 0) / most, Math.max(0, (before ?? 0) - (each.device_seconds ?? 0)) / most];
    bar.children[0].style.width = `${now * 100}%`;
    bar.children[1].style.width = each.device_seconds === null ? "0" : `${fell * 100}%`;
    const devices = each.device_seconds === null ? NONE : number(each.device_seconds / seconds, 1);
    const cell = element("td", { className: "bar" }, bar);
    const figure = element("td", { text: devices, title: each.device_seconds === null ? "" : deviceTime(each.device_seconds) });
    figure.dataset.value = each.device_seconds === null ? "" : String(each.device_seconds);
    const share = each.device_seconds === null || !installed ? (each.reason ?? NONE) : percent(each.device_seconds / installed);
    return { cells: [each.name, cell, figure, share] };
  });
  table($("waterfall"), ["", "", "accelerators", "of installed"], rows);
  const missing = levels.find((each) => each.device_seconds === null && each.name === "contracted");
  say($("waterfall-note"), missing ? missing.reason : "");
}
