// What every part of the page uses. Text from files only ever becomes text nodes and attribute values.

const byId = (id) => document.getElementById(id);

// An element: functions in `properties` listen to events, true and false switch attributes.
const make = (tag, properties, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
};

const index = JSON.parse(byId("data-index").textContent);

// The value of a packed script element: base64 of a zlib stream of JSON.
const unpack = async (id) => {
  const bytes = Uint8Array.from(atob(JSON.parse(byId(`data-${id}`).textContent)), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
};

// "1 cell", "2,000 cells"
const counted = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

// A density as the tables write it: never rounded to nothing.
const density = (value) => {
  if (value === null) return "\u2013";
  return value === 0 || value >= 0.01 ? String(Number(value.toFixed(4))) : String(Number(value.toPrecision(3)));
};
// The same with equal decimals, where numbers stand in a column or change in place.
const steady = (value) => value.toFixed(3);

// A box of its own for what may be wider than the screen; it can be scrolled with the keyboard too.
const scrolling = (label, ...children) =>
  make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, ...children);

const options = (select, values, all) => {
  if (all) select.append(make("option", { value: "" }, all));
  for (const value of values) select.append(make("option", { value }, value));
};

// A method's colour and shape, as in the figures.
const swatch = (method) => {
  if (!Object.hasOwn(index.looks, method)) return null;
  const [light, dark, outline] = index.looks[method];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", `M0 0${outline}`);
  for (const [name, value] of [["class", "swatch"], ["viewBox", "-6 -6 12 12"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  svg.style.setProperty("--light", light);
  svg.style.setProperty("--dark", dark);
  svg.append(path);
  return svg;
};

// A name that may break after each underscore.
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]).slice(0, -1);

// A table whose rows are shown as they are; the first column has methods.
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

const failed = (error) => {
  const place = byId("trouble");
  place.hidden = false;
  place.textContent =
    typeof DecompressionStream === "undefined"
      ? "This browser cannot unpack the page's data: it needs one from 2023 or later."
      : `A part of this page could not be shown: ${error}`;
};
