// Two results beside each other: in what their configurations differ, and their scores.

const CONFIGURATION = ["suite", "experiment", "architecture", "method", "benchmark", "trained_on", "training_data", "seed",
  "training", "evaluation", "program"];
const ASKED_DENSITY = ["requested", "match", "source", "scope"];

// path -> value, of everything nested; lists of plain values are one.
const flat = (value, path = "", found = new Map()) => {
  const nested = value !== null && typeof value === "object" && (!Array.isArray(value) || value.some((one) => one !== null && typeof one === "object"));
  if (!nested) found.set(path, Array.isArray(value) ? value.join(", ") : value);
  else for (const [name, inner] of Object.entries(value)) flat(inner, path ? `${path}.${name}` : name, found);
  return found;
};
const pick = (from, names) => Object.fromEntries(names.filter((name) => name in (from || {})).map((name) => [name, from[name]]));
const configuration = (content) => flat({ ...pick(content, CONFIGURATION), density: pick(content.density, ASKED_DENSITY) });
const written = (value) => (value === undefined || value === null || value === "" ? "\u2013" : String(value));

// [path, value in a, value in b] of the paths where they differ
const differing = (a, b) => [...new Set([...a.keys(), ...b.keys()])]
  .map((path) => [path, written(a.get(path)), written(b.get(path))]).filter(([, one, other]) => one !== other);

const scoresOf = (content) => new Map([["test", content.metrics], ["validation", content.validation]].flatMap(([split, metrics]) =>
  Object.entries(metrics || {}).map(([name, metric]) => [`${name}, ${split}`, metric.value])));

const showDifference = async (first, second) => {
  const [a, b] = (await Promise.all([readRecord(first), readRecord(second)])).map(([text]) => JSON.parse(text));
  const [scoresA, scoresB] = [scoresOf(a), scoresOf(b)];
  for (const [scores, { density: its }] of [[scoresA, a], [scoresB, b]]) if (its && its.mask !== undefined) scores.set("density of the mask", its.mask);
  const digits = (value) => (typeof value === "number" ? String(Number(value.toPrecision(6))) : written(value));
  const scores = [...new Set([...scoresA.keys(), ...scoresB.keys()])].map((name) => {
    const [one, other] = [scoresA.get(name), scoresB.get(name)];
    const both = typeof one === "number" && typeof other === "number";
    return [name, digits(one), digits(other), both ? digits(other - one) : "\u2013"];
  });
  const changed = differing(configuration(a), configuration(b));
  const beside = (title, columns, rows, id) => make("section", { id }, make("h3", {}, title),
    plainTable({ title, columns: columns.map((name) => [name, false]), rows }));
  wait(null);
  byId("record-compare").hidden = true;
  openRecord("Two results beside each other",
    make("dl", { class: "facts" }, [["A", first], ["B", second]].flatMap(([name, number]) =>
      [make("dt", {}, name), make("dd", {}, recordLink(number, recordName(number)))])),
    beside("Scores", ["", "A", "B", "B minus A"], scores, "difference-scores"),
    changed.length ? beside("Where their configurations differ", ["setting", "A", "B"], changed, "difference-settings")
      : make("p", {}, "Their configurations are equal."),
    make("p", { class: "soft" }, "Single results: whether methods differ is told over seeds, by the answers of the tables."));
};
