// Small line and area charts as SVG: responsive without measuring, readable by keyboard.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 100;

function svg(name, attributes) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function html(name, className, text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

// A gap in the values is a gap in the line: nothing is drawn where nothing is known.
function runs(values) {
  const found = [];
  let run = [];
  values.forEach((value, position) => {
    if (value === null) {
      if (run.length) found.push(run);
      run = [];
    } else run.push(position);
  });
  if (run.length) found.push(run);
  return found;
}

export class Chart {
  constructor(figure, name) {
    this.figure = figure;
    this.name = name;
    this.cursor = null;
    this.plot = html("div", "plot");
    this.drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.top = html("span", "tick top");
    this.bottom = html("span", "tick bottom");
    this.plot.append(this.drawing, this.top, this.bottom);
    this.caption = document.createElement("figcaption");
    this.left = html("span", "from");
    this.right = html("span", "read");
    this.caption.append(this.left, this.right);
    figure.append(this.plot, this.caption);
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "img");
    this.plot.setAttribute("aria-label", `${name}: no figures yet`);
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.move(null));
    this.plot.addEventListener("blur", () => this.move(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
  }

  // data: {starts, step, lines: [{values, className}], bands, areas, low, high, format, read}
  draw(data) {
    this.data = data;
    const drawn = [0, 0.5, 1].map((part) => svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part }));
    for (const area of data.areas ?? []) drawn.push(...this.between(area.low, area.high, `area ${area.className}`));
    for (const band of data.bands ?? []) drawn.push(...this.between(band.low, band.high, "band"));
    for (const line of data.lines ?? []) drawn.push(...this.line(line));
    this.drawing.replaceChildren(...drawn);
    // On areas there is no room for numbers, nor need: they fill the whole height.
    this.top.textContent = data.areas ? "" : data.format(data.high);
    this.bottom.textContent = data.areas ? "" : data.format(data.low);
    const count = data.starts.length;
    this.left.textContent = count ? span(count * data.step) : "";
    if (this.cursor === null) this.plot.setAttribute("aria-label", `${this.name}, ${count ? `the last ${count * data.step} seconds; now ${data.read(count - 1)}; arrow keys read the past` : "no figures yet"}`);
    this.mark();
  }

  x(position) {
    const count = this.data.starts.length;
    return count > 1 ? (position / (count - 1)) * WIDTH : WIDTH;
  }

  y(value) {
    const { low, high } = this.data;
    const part = (value - low) / (high - low || 1);
    return HEIGHT * (1 - Math.min(1, Math.max(0, part)));
  }

  line({ values, className = "" }) {
    return runs(values).map((run) => {
      // A single step has no length: it is drawn as a short stroke.
      const from = run.length === 1 ? `M${this.x(run[0]) - 2} ${this.y(values[run[0]])}L` : "M";
      const points = run.map((position) => `${this.x(position)} ${this.y(values[position])}`);
      return svg("path", { class: `line ${className}`, d: from + points.join("L") });
    });
  }

  between(low, high, className) {
    return runs(low.map((value, position) => (high[position] === null ? null : value))).map((run) => {
      const there = run.map((position) => `${this.x(position)} ${this.y(high[position])}`);
      const back = run.map((position) => `${this.x(position)} ${this.y(low[position])}`).reverse();
      return svg("path", { class: className, d: `M${[...there, ...back].join("L")}Z` });
    });
  }

  point(event) {
    const box = this.plot.getBoundingClientRect();
    const last = (this.data?.starts.length ?? 0) - 1;
    if (last >= 0) this.move(Math.min(last, Math.max(0, Math.round(((event.clientX - box.left) / box.width) * last))));
  }

  key(event) {
    const last = (this.data?.starts.length ?? 0) - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -last, End: last };
    if (last < 0 || !(event.key in steps)) return;
    event.preventDefault();
    this.move(Math.min(last, Math.max(0, (this.cursor ?? last) + steps[event.key])));
    this.plot.setAttribute("aria-label", `${this.name}, ${this.right.textContent}`);
  }

  move(position) {
    this.cursor = position;
    this.mark();
  }

  mark() {
    this.drawing.querySelector(".cursor")?.remove();
    const { starts, read } = this.data ?? { starts: [] };
    if (!starts.length) return;
    if (this.cursor === null || this.cursor >= starts.length) {
      this.right.textContent = "now";
      return;
    }
    const at = new Date(starts[this.cursor] * 1000).toLocaleTimeString("en-GB");
    this.right.textContent = `${at}  ${read(this.cursor)}`;
    const x = this.x(this.cursor);
    this.drawing.append(svg("line", { class: "cursor", x1: x, x2: x, y1: 0, y2: HEIGHT }));
  }
}

function span(seconds) {
  if (seconds >= 7200) return `${Math.round(seconds / 3600)} h ago`;
  return seconds >= 120 ? `${Math.round(seconds / 60)} min ago` : `${seconds} s ago`;
}
