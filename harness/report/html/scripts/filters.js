// The filters: every part of the page asks them what to show, and is told when they change.

const FIELDS = ["text", "suite", "architecture", "benchmark", "low", "high"];
const filters = { words: [], suite: "", architecture: "", benchmark: "", methods: new Set(), low: -Infinity, high: Infinity };
const followers = [];
const narrow = matchMedia("(max-width: 40rem)");

// Bounds as one types them: 0.3 includes a mask that keeps 0.29999 because weights are whole.
const within = (value, low, high) => value * 1.001 >= low && value * 0.999 <= high;
const said = (text) => filters.words.every((word) => text.includes(word));
const fitsSuite = (suite) => !filters.suite || suite === filters.suite;
const fitsGroup = ({ suite, architecture, benchmarks }) => fitsSuite(suite) &&
  (!filters.architecture || architecture === filters.architecture) && (!filters.benchmark || benchmarks.includes(filters.benchmark));
const fitsMethod = (method) => !filters.methods.size || filters.methods.has(method);
const fitsRow = (row) => fitsMethod(row.method) && within(row.density, filters.low, filters.high);
// Those members of a group that fit, by all that is written of them.
const fitting = (group) => !fitsGroup(group) ? [] : group.members.filter((member) =>
  fitsRow(member) && said(`${group.title} ${member.method} ${member.row || ""}`.toLowerCase()));

// Calls `follow` now and whenever the filters change.
const onFilter = (follow) => { followers.push(follow); follow(); };

const field = (name) => byId(`filter-${name}`);
const ticks = () => [...byId("filter-methods").querySelectorAll("input")];

const readFilters = () => {
  const bound = (name, otherwise) => (field(name).value === "" ? otherwise : field(name).valueAsNumber);
  filters.words = field("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const name of ["suite", "architecture", "benchmark"]) filters[name] = field(name).value;
  filters.methods = new Set(ticks().filter((box) => box.checked).map((box) => box.value));
  [filters.low, filters.high] = [bound("low", -Infinity), bound("high", Infinity)];
};

const toldFilters = () => {
  const { suite, architecture, benchmark, methods, low, high, words } = filters;
  const named = Object.entries({ suite, architecture, benchmark }).filter(([, value]) => value).map(([name, value]) => `${name} ${value}`);
  if (methods.size) named.push(`${methods.size === 1 ? "method" : "methods"} ${[...methods].join(", ")}`);
  if (low > -Infinity || high < Infinity) named.push(`density ${low > -Infinity ? low : 0} to ${high < Infinity ? high : 1}`);
  if (words.length) named.push(`rows that say ${words.map((word) => `\u201c${word}\u201d`).join(" and ")}`);
  return named;
};

const applyFilters = () => {
  readFilters();
  const told = toldFilters();
  byId("active").hidden = !told.length;
  byId("active-text").textContent = `The whole page shows only: ${told.join("; ")}.`;
  byId("filter-open").textContent = told.length ? `Filters (${told.length})` : "Filters";
  for (const follow of followers) follow();
};

const clearFilters = () => {
  for (const name of FIELDS) field(name).value = "";
  for (const box of ticks()) box.checked = false;
  applyFilters();
};

// A method is shown alone, beside others that are, or no longer.
const toggleMethod = (method) => {
  for (const box of ticks()) if (box.value === method) box.checked = !box.checked;
  applyFilters();
};

const showFilters = (boards) => {
  const distinct = (values) => [...new Set(values)].sort((a, b) => a.localeCompare(b, "en"));
  for (const name of ["suite", "architecture", "benchmark"]) options(field(name), distinct(boards.map((board) => board[name])), "all");
  byId("filter-methods").append(...distinct(boards.flatMap((board) => board.rows.map((row) => row.method))).map((method) =>
    make("label", {}, make("input", { type: "checkbox", value: method }), swatch(method), make("span", {}, method))));
  for (const event of ["input", "change"]) byId("filters").addEventListener(event, applyFilters);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", (event) => { event.preventDefault(); clearFilters(); });
  byId("active-clear").addEventListener("click", clearFilters);
  const open = byId("filter-open");
  open.addEventListener("click", () => {
    byId("filters").hidden = !byId("filters").hidden;
    open.setAttribute("aria-expanded", String(!byId("filters").hidden));
  });
};
