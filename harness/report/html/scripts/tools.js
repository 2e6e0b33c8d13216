// What every part of the page uses. Text from files only ever becomes text nodes and attribute values.

const byId = (id) => document.getElementById(id);

const add = (node, properties, children) => {
  for (const [name, value] of Object.entries(properties || {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
};
// An element: functions in `properties` listen to events, true and false switch attributes.
const make = (tag, properties, ...children) => add(document.createElement(tag), properties, children);
// The same inside a drawing.
const draw = (tag, properties, ...children) => add(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);

const failed = (error) => {
  const place = byId("trouble");
  place.hidden = false;
  place.textContent =
    typeof DecompressionStream === "undefined"
      ? "This browser cannot unpack the page's data: it needs one from 2023 or later."
      : `A part of this page could not be shown: ${error}`;
};

// The value of a packed script element: base64 of a zlib stream of JSON.
const unpack = async (id) => {
  const bytes = Uint8Array.from(atob(JSON.parse(byId(`data-${id}`).textContent)), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
};

const index = await unpack("index").catch((error) => { failed(error); throw error; });

// "1 row", "2,000 rows"
const counted = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

// A density as the tables write it: never rounded to nothing.
const density = (value) => {
  if (value === null) return "\u2013";
  return value === 0 || value >= 0.01 ? String(Number(value.toFixed(4))) : String(Number(value.toPrecision(3)));
};
// The same with equal decimals, where numbers stand in a column or change in place.
const steady = (value) => value.toFixed(3);

// A box of its own for what may be wider than the screen; it can be scrolled with the keyboard too. It ends where a
// column does: half of a number reads as another number.
const scrolling = (label, ...children) =>
  make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, ...children);
const endAtColumn = (box) => {
  box.style.maxWidth = "";
  const left = box.getBoundingClientRect().left - box.scrollLeft;
  const ends = [...box.querySelectorAll("thead th")].map((head) => head.getBoundingClientRect().right - left);
  const whole = ends.filter((end) => end <= box.clientWidth + 0.5);
  if (whole.length && whole.length < ends.length) box.style.maxWidth = `${Math.max(...whole)}px`;
};
new ResizeObserver(() => document.querySelectorAll(".scroll").forEach(endAtColumn)).observe(document.body);

const options = (select, values, all) => {
  if (all) select.append(make("option", { value: "" }, all));
  for (const value of values) select.append(make("option", { value }, value));
};
// New options: [value, text]; what was chosen stays if it is still there.
const renew = (select, pairs, chosen = select.value) => {
  select.replaceChildren(...pairs.map(([value, text]) => make("option", { value: String(value) }, text)));
  if (pairs.some(([value]) => String(value) === String(chosen))) select.value = String(chosen);
};
const list = (kind, items) => make("ul", { class: kind }, items.map((item) => make("li", {}, item)));
const labelled = (text, field) => make("label", {}, text, field);

// A method's colours, for its marks and its sign.
const paint = (node, method) => {
  const [light, dark] = Object.hasOwn(index.looks, method) ? index.looks[method] : ["", ""];
  node.style.setProperty("--light", light);
  node.style.setProperty("--dark", dark);
  return node;
};
const outline = (method) => (Object.hasOwn(index.looks, method) ? index.looks[method][2] : "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z");
// A method's colour and shape, as in the figures.
const swatch = (method) => !Object.hasOwn(index.looks, method) ? null
  : paint(draw("svg", { class: "swatch", viewBox: "-6 -6 12 12", "aria-hidden": "true" }, draw("path", { d: `M0 0${outline(method)}` })), method);

// A name that may break after each underscore or full stop.
const breakable = (name) => name.split(/(?<=[_.])/).flatMap((part) => [part, make("wbr")]).slice(0, -1);

// A table whose rows are shown as they are; the first column has methods, or names of any kind.
const plainTable = ({ title, columns, rows }) => {
  const kinds = columns.map(([, right]) => (right ? "number" : null));
  const head = make("tr", {}, columns.map(([name], at) => make("th", { scope: "col", class: kinds[at] }, name)));
  const lines = rows.map(([name, ...texts]) => make("tr", {}, make("th", { scope: "row" }, swatch(name), breakable(name)),
    texts.map((text, at) => make("td", { class: kinds[at + 1] }, text))));
  return scrolling(title, make("table", {}, make("thead", {}, head), make("tbody", {}, lines)));
};

// A drawn figure, copied from the template that holds it.
const figure = (number, caption) =>
  make("figure", {}, byId(`figure-${number}`).content.cloneNode(true), caption && make("figcaption", {}, caption));
