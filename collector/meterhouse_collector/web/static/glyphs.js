// Numerals drawn as strokes: the same on every screen, all digits equally wide, no font to load.

const NS = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
const DIGIT = 64;
const PATHS = {
  0: "M32 5C15 5 9 22 9 50S15 95 32 95 55 78 55 50 49 5 32 5Z",
  1: "M15 24L36 6V95",
  2: "M10 29C10 14 19 5 32 5S54 14 54 28C54 40 46 49 36 60L9 95H56",
  3: "M11 21C13 11 22 5 32 5C45 5 53 14 53 26S44 47 29 47C46 47 55 57 55 71S45 95 32 95C20 95 11 88 9 76",
  4: "M42 95V5L7 70H58",
  5: "M52 5H17L13 48C19 41 26 38 33 38C46 38 55 49 55 66S46 95 31 95C20 95 12 89 9 79",
  6: "M46 5C25 22 9 44 9 66C9 84 19 95 32 95S55 84 55 67 45 39 32 39 11 49 9.500 62",
  7: "M9 5H55L25 95",
  8: "M32 47C20 47 12 39 12 26S20 5 32 5 52 13 52 26 44 47 32 47C18 47 9 57 9 71S18 95 32 95 55 85 55 71 46 47 32 47Z",
  9: "M18 95C39 78 55 56 55 34C55 16 45 5 32 5S9 16 9 33 19 61 32 61 53 51 54.500 38",
  ".": "M10 94.500V95",
  ",": "M11 93L8 106",
  "-": "M8 56H36",
  "—": "M6 52H58",
  "%": "M74 8L18 95M24 8A15 17 0 1 0 24.010 8ZM68 61A15 17 0 1 0 68.010 61Z",
  " ": "",
};
const WIDTHS = { ".": 20, ",": 20, "-": 44, "%": 94, " ": 22 };

function path(d, x, className) {
  const element = document.createElementNS(NS, "path");
  element.setAttribute("d", d);
  element.setAttribute("transform", `translate(${x} 0)`);
  if (className) element.setAttribute("class", className);
  return element;
}

// Draws a text of digits into an SVG; what follows the point is drawn fainter.
export function draw(svg, text) {
  if (svg.dataset.text === text) return;
  svg.dataset.text = text;
  const drawn = [];
  let x = 0;
  let after = false;
  for (const sign of text) {
    if (sign === ".") after = true;
    if (sign === " ") after = false;
    if (PATHS[sign]) drawn.push(path(PATHS[sign], x, after ? "after" : sign === "%" ? "unit" : ""));
    x += WIDTHS[sign] ?? DIGIT;
  }
  svg.setAttribute("viewBox", `0 -6 ${Math.max(x, 1)} ${HEIGHT + 14}`);
  svg.style.aspectRatio = `${Math.max(x, 1)} / ${HEIGHT + 14}`;
  svg.replaceChildren(...drawn);
}
