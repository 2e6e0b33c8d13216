// Draws plots: axes, lines, bands and points of methods, which can be pointed at, tabbed to and followed.

const MARGIN = { left: 62, right: 18, top: 14, bottom: 46 };

const path = (spots) => spots.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// An empty plot of a size in pixels; `left` is what the labels of the vertical axis take. What is put into `lines` is cut
// at the edges.
const frame = ({ width, height, x, y, xName, yName, title, left = MARGIN.left }) => {
  const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
  const px = (value) => left + (right - left) * x.at(value);
  const py = (value) => bottom - (bottom - MARGIN.top) * y.at(value);
  const beyond = (value) => bottom - (bottom - MARGIN.top) * y.beyond(value);
  const svg = draw("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": title });
  for (const [value, text] of y.marks) {
    svg.append(draw("path", { class: "grid", d: path([[left, py(value)], [right, py(value)]]) }),
      draw("text", { x: left - 8, y: py(value) + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of x.marks) {
    svg.append(draw("path", { class: "axis", d: path([[px(value), bottom], [px(value), bottom + 5]]) }),
      draw("text", { x: px(value), y: bottom + 19, "text-anchor": "middle" }, text));
  }
  svg.append(draw("path", { class: "axis", d: path([[left, bottom], [right, bottom]]) }),
    draw("text", { class: "name", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, xName));
  if (yName) svg.append(draw("text", { class: "name", transform: `translate(13 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yName));
  const [inner, deep] = [right - left, bottom - MARGIN.top];
  const lines = draw("svg", { x: left, y: MARGIN.top, width: inner, height: deep, viewBox: `${left} ${MARGIN.top} ${inner} ${deep}` });
  svg.append(lines);
  return { svg, lines, px, py, beyond, left, right, top: MARGIN.top, bottom };
};

const group = (svg, method) => {
  const node = paint(draw("g", { class: "method" }), method);
  node.method = method;
  svg.append(node);
  return node;
};

// Method -> dashes of its lines: those of one colour differ.
const dashes = (methods) => {
  const [found, used] = [new Map(), new Map()];
  for (const method of [...new Set(methods)].sort()) {
    const [colour] = index.looks[method] || [""];
    const before = used.get(colour) || 0;
    found.set(method, [null, "7 3", "2 3", "9 3 2 3"][before % 4]);
    used.set(colour, before + 1);
  }
  return found;
};

// One method stands out; null: all do.
const light = (svg, method) => {
  svg.classList.toggle("dim", method !== null);
  for (const node of svg.querySelectorAll("g.method")) node.classList.toggle("lit", node.method === method);
};

// A mark that tells of itself: `told` goes to the readout, `href` is where it leads.
const telling = (svg, node, { told, href, method, small }, readout) => {
  const link = draw("a", { href, tabindex: small ? "-1" : null, "aria-label": told, class: small ? "seed" : "point" }, draw("title", {}, told), node);
  const say = () => { readout.textContent = told; light(svg, method); };
  const rest = () => light(svg, null);
  for (const event of ["pointerenter", "focus"]) link.addEventListener(event, say);
  for (const event of ["pointerleave", "blur"]) link.addEventListener(event, rest);
  return link;
};

// What lies beyond an edge: 1 below or to the right, -1 above or to the left.
const triangle = ([x, y], off, size, across) => draw("path", { class: "solid off", d: across
  ? `M${x} ${y}m${-off * 2} ${-size / 2}v${size}l${off * size}${-size / 2}z` : `M${x} ${y}m${-size / 2} ${-off * 2}h${size}l${-size / 2} ${off * size}z` });
// Which edge a value lies beyond, of a scale that rises to the top or to the right; 0: none.
const beyondEdge = (axis, value, across) => (axis.holds(value) ? 0 : (axis.at(value) > 0.5) === across ? 1 : -1);

// The mark of a row with its interval, at pixels; `across` draws the interval along x.
const mark = (svg, point, [x, y], ends, off, readout, across) => {
  const shape = point.lost ? draw("path", { class: "lost", d: `M${x} ${y}m-4-4l8 8m0-8l-8 8` })
    : off ? triangle([x, y], off, 10, across)
      : draw("path", { class: point.one ? "hollow" : "solid", d: `M${x.toFixed(1)} ${y.toFixed(1)}${outline(point.method)}` });
  const bar = ends && !off ? draw("path", { class: "bar", d: path(across ? [[ends[0], y], [ends[1], y]] : [[x, ends[0]], [x, ends[1]]]) }) : null;
  const ring = point.small ? draw("circle", { class: "ring", cx: x, cy: y, r: 8 }) : null;
  const hit = draw("circle", { class: "hit", cx: x, cy: y, r: 11 });
  return [bar, telling(svg, [hit, ring, shape].filter(Boolean), { ...point, small: false }, readout)].filter(Boolean);
};

// A single seed's mark; where there is no mean beside it, `alone`, it is no fainter than one.
const seedMark = (svg, seed, [x, y], off, readout, across) => {
  const shape = off ? triangle([x, y], off, 6, across)
    : seed.cut ? draw("path", { class: "lost", d: `M${x} ${y}m-2.5-2.5l5 5m0-5l-5 5` }) : draw("circle", { class: seed.alone ? "alone" : "faint", cx: x.toFixed(1), cy: y.toFixed(1), r: seed.alone ? 3.4 : 2.6 });
  return telling(svg, shape, { ...seed, small: true }, readout);
};
