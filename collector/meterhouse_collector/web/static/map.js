// The fleet: one cell for each accelerator, node by node and pool by pool, on one canvas.

import { $, element, LETTERS, say, STATES } from "/dom.js";

const LARGEST = 88;
const LEAST = 2;
const HEADING = 20;
const LARGE = 1500;

// How many columns a node's cells have: all in one row, or as square as can be.
const SHAPES = [(devices) => devices, (devices) => Math.min(devices, Math.max(1, 2 ** Math.ceil(Math.log2(Math.sqrt(devices)))))];

// Where everything is for cells of one size, or how high that would be.
function place(pools, size, width, columnsOf) {
  const gap = size >= 8 ? Math.max(2, size / 5) : size >= 4 ? 2 : 1;
  const cells = [];
  const blocks = [];
  const headings = [];
  let y = 0;
  for (const { label, nodes } of pools) {
    headings.push({ label, y });
    y += HEADING;
    let x = 0;
    let high = 0;
    for (const node of nodes) {
      const columns = columnsOf(node.devices.length);
      const wide = columns * size;
      if (x > 0 && x + wide > width) {
        x = 0;
        y += high + gap * 2;
        high = 0;
      }
      const rows = Math.ceil(node.devices.length / columns);
      blocks.push({ node, x, y, first: cells.length, columns, rows });
      node.devices.forEach((_, at) => cells.push({ x: x + (at % columns) * size, y: y + Math.floor(at / columns) * size, block: blocks.length - 1, at }));
      x += wide + gap * 2;
      high = Math.max(high, rows * size);
    }
    y += high + gap * 3;
  }
  return { cells, blocks, headings, height: y, size };
}

// The largest cells that fit; the height is less the smaller the cells, nearly, so halves find it.
function largest(pools, width, height, columnsOf) {
  let [low, high] = [LEAST * 2, LARGEST * 2];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(pools, middle / 2, width, height, columnsOf)) low = middle;
    else high = middle - 1;
  }
  return low / 2;
}

function fits(pools, size, width, height, columnsOf) {
  const widest = Math.max(...pools.flatMap(({ nodes }) => nodes.map((node) => columnsOf(node.devices.length)))) * size;
  return widest <= width && place(pools, size, width, columnsOf).height <= height;
}

export class FleetMap {
  constructor(open) {
    this.canvas = $("map");
    this.open = open;
    this.states = "";
    this.layout = null;
    this.placed = null;
    this.cursor = null;
    this.asking = false;
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("pointermove", (event) => this.hover(this.under(event)));
    this.canvas.addEventListener("pointerleave", () => this.hover(null));
    this.canvas.addEventListener("click", (event) => this.choose(this.under(event)));
    this.canvas.addEventListener("focus", () => this.move(this.cursor ?? 0));
    this.canvas.addEventListener("blur", () => this.hover(null));
    new ResizeObserver(() => this.arrange()).observe(this.canvas.parentElement);
    addEventListener("themechange", () => this.paint());
  }

  async show(cells) {
    if (!cells) return;
    this.states = cells.states;
    this.revision = cells.revision;
    if (this.layout?.revision !== cells.revision) await this.ask();
    else this.paint();
  }

  async ask() {
    if (this.asking) return;
    this.asking = true;
    try {
      const answer = await fetch("/api/layout");
      if (answer.ok) this.layout = await answer.json();
      this.remember();
    } catch {
      // The next event asks again.
    }
    this.asking = false;
    if (this.layout) this.arrange();
  }

  remember() {
    const devices = this.layout.nodes.reduce((sum, node) => sum + node.devices.length, 0);
    const large = devices > LARGE ? "large" : "";
    document.documentElement.dataset.fleet = large;
    try {
      localStorage.setItem("fleet", large);
    } catch {
      // Then it is found out again each time.
    }
  }

  arrange() {
    if (!this.layout) return;
    const pools = new Map();
    for (const node of this.layout.nodes) {
      const key = `${node.cluster}/${node.pool}`;
      if (!pools.has(key)) pools.set(key, { label: node.pool === "none" ? "in no pool" : node.pool, nodes: [] });
      pools.get(key).nodes.push(node);
    }
    const box = this.canvas.parentElement;
    const [width, height] = [box.clientWidth, box.clientHeight];
    const all = [...pools.values()];
    if (!all.length || width <= 0) return;
    const sizes = SHAPES.map((columnsOf) => largest(all, width, height, columnsOf));
    const best = sizes[0] >= sizes[1] ? 0 : 1;
    this.placed = place(all, sizes[best], width, SHAPES[best]);
    this.width = width;
    this.height = height;
    const more = this.layout.left_out ? `; ${this.layout.left_out} more are not shown` : "";
    say($("map-note"), `${this.placed.cells.length} accelerators on ${this.layout.nodes.length} nodes${more}`);
    this.paint();
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(`--${name}`).trim();
    return { ...Object.fromEntries(Object.entries(LETTERS).map(([letter, state]) => [letter, read(state)])), ink: read("ink"), soft: read("soft"), paper: read("paper") };
  }

  paint() {
    if (!this.placed || this.layout.revision !== this.revision) return;
    const begun = performance.now();
    const { canvas, placed, width, height } = this;
    const scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const colours = this.colours();
    const side = placed.size - (placed.size >= 6 ? 2 : placed.size >= 3 ? 1 : 0.5);
    for (const letter of Object.keys(LETTERS)) {
      context.beginPath();
      placed.cells.forEach((cell, at) => {
        if (this.states[at] === letter) context.rect(cell.x, cell.y, side, side);
      });
      context.fillStyle = colours[letter];
      context.fill();
    }
    // Not by colour alone: what is unhealthy is crossed, what is unknown is hollow.
    if (placed.size >= 10) this.marks(context, colours, side);
    context.fillStyle = colours.soft;
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    for (const { label, y } of placed.headings) context.fillText(label, 0, y + 12);
    const shown = this.hovered ?? (document.activeElement === canvas ? this.cursor : null);
    if (shown !== null && placed.cells[shown]) {
      const cell = placed.cells[shown];
      context.strokeStyle = colours.ink;
      context.lineWidth = 2;
      context.strokeRect(cell.x - 1.5, cell.y - 1.5, side + 3, side + 3);
    }
    canvas.dataset.frame = (performance.now() - begun).toFixed(2);
    canvas.dataset.states = this.states;
  }

  marks(context, colours, side) {
    context.beginPath();
    this.placed.cells.forEach(({ x, y }, at) => {
      if (this.states[at] === "x") {
        context.moveTo(x + side * 0.28, y + side * 0.28);
        context.lineTo(x + side * 0.72, y + side * 0.72);
        context.moveTo(x + side * 0.72, y + side * 0.28);
        context.lineTo(x + side * 0.28, y + side * 0.72);
      }
    });
    context.strokeStyle = colours.paper;
    context.lineWidth = Math.max(1.5, side / 12);
    context.stroke();
    context.fillStyle = colours.paper;
    this.placed.cells.forEach(({ x, y }, at) => {
      if (this.states[at] === "u") context.fillRect(x + 2, y + 2, side - 4, side - 4);
    });
  }

  under(event) {
    if (!this.placed) return null;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { size, cells } = this.placed;
    const block = this.placed.blocks.find((each) => x >= each.x && x < each.x + each.columns * size && y >= each.y && y < each.y + each.rows * size);
    if (!block) return null;
    const at = block.first + Math.floor((y - block.y) / size) * block.columns + Math.floor((x - block.x) / size);
    return cells[at] && cells[at].block === this.placed.blocks.indexOf(block) ? at : null;
  }

  hover(at) {
    if (this.hovered === at && at !== null) return;
    this.hovered = at;
    say($("map-cell"), at === null ? "" : this.words(at));
    this.paint();
  }

  words(at) {
    const { block, at: device } = this.placed.cells[at];
    const { node } = this.placed.blocks[block];
    return `${node.name} ${node.devices[device]}: ${STATES[LETTERS[this.states[at]]]}`;
  }

  choose(at) {
    if (at !== null && this.placed?.cells[at]) this.open(this.placed.blocks[this.placed.cells[at].block].node.name);
  }

  move(at) {
    if (!this.placed?.cells.length) return;
    this.cursor = Math.min(this.placed.cells.length - 1, Math.max(0, at));
    this.hovered = null;
    say($("map-cell"), this.words(this.cursor));
    this.paint();
  }

  key(event) {
    if (!this.placed?.cells.length) return;
    const at = this.cursor ?? 0;
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: this.beside(at, -1), ArrowDown: this.beside(at, 1), PageUp: this.node(at, -1), PageDown: this.node(at, 1), Home: 0, End: this.placed.cells.length - 1 };
    if (event.key in steps) this.move(steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.choose(at);
    else return;
    event.preventDefault();
  }

  node(at, step) {
    const block = this.placed.blocks[this.placed.cells[at].block + step];
    return block ? block.first : at;
  }

  // The nearest cell above or below.
  beside(at, step) {
    const from = this.placed.cells[at];
    let found = at;
    let least = Infinity;
    this.placed.cells.forEach((cell, other) => {
      const away = (cell.y - from.y) * step;
      if (away <= 0) return;
      const distance = away + Math.abs(cell.x - from.x) * 2;
      if (distance < least) [least, found] = [distance, other];
    });
    return found;
  }
}

export function legend(states, installed, seconds) {
  say($("installed"), states && seconds ? `${(installed / seconds).toFixed(0)} accelerators installed` : "—");
  for (const entry of $("legend").children) {
    const part = states && installed > 0 ? states[entry.dataset.state] : null;
    say(entry.querySelector("b"), part === null ? "—" : `${((part / installed) * 100).toFixed(1)} %`);
    say(entry.querySelector("span"), `${STATES[entry.dataset.state]}${part === null ? "" : `, ${(part / seconds).toFixed(1)}`}`);
  }
}

for (const [state, label] of Object.entries(STATES)) {
  const entry = element("li", { className: state, "data-state": state }, element("i"), element("b", { text: "—" }), element("span", { text: label }));
  $("legend").append(entry);
}
