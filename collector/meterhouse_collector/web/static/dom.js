// Small makers of elements, and the words of the states.

export const STATES = { active: "active", held_idle: "held, idle", free: "free", unhealthy: "unhealthy", unknown: "unknown" };
export const LETTERS = { a: "active", h: "held_idle", f: "free", x: "unhealthy", u: "unknown" };
export const $ = (id) => document.getElementById(id);

export function element(name, { text, className, ...rest } = {}, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(rest)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function shape(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A text that did not change is left alone: nothing is laid out or read out again.
export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

export function table(where, head, rows) {
  const cells = (names, kind) => names.map((name, at) => {
    // A heading without words heads nothing.
    const heads = name !== "" && (kind === "head" || at === 0);
    const cell = name instanceof Node ? name : element(heads ? "th" : "td", { text: name });
    if (cell.tagName === "TH") cell.scope = kind === "head" ? "col" : "row";
    return cell;
  });
  where.tHead.replaceChildren(element("tr", {}, ...cells(head, "head")));
  where.tBodies[0].replaceChildren(...rows.map(({ cells: parts, className }) => element("tr", className ? { className } : {}, ...cells(parts, "row"))));
}
