// The leaderboard: tables that open, sort by value, and are filtered together.

const FIRST_ROWS = 200;
const OPEN_ROWS = 60;
const FILTERS = ["text", "suite", "architecture", "benchmark", "method", "low", "high"];

const plainOrder = { column: null, falling: false };
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en"));

const sorted = (rows, order) => {
  if (order.column === null) return rows;
  const value = (row) => row.cells[order.column][1];
  const known = rows.filter((row) => value(row) !== null);
  known.sort((a, b) => (order.falling ? -1 : 1) * compare(value(a), value(b)));
  return [...known, ...rows.filter((row) => value(row) === null)];
};

// Bounds as one types them: 0.3 includes a mask that keeps 0.29999 because weights are whole.
const within = (value, low, high) => value * 1.001 >= low && value * 0.999 <= high;

const isNumeric = (board, column) => board.rows.some((row) => typeof row.cells[column][1] === "number");
// Numbers stand right; what holds an interval, a name or a unit stands left, so that it begins beside its neighbour.
const alignment = (board, column) =>
  isNumeric(board, column) && board.rows.every((row) => !row.cells[column][0].includes(" ")) ? "number" : null;

// One table; `state` remembers its order and how many rows are shown.
const drawTable = (board, state, rows, more) => {
  const shown = board.columns.map((column, at) => at).filter((at) => more || !board.columns[at].more);
  const head = make("tr");
  for (const at of shown) {
    const { name, help } = board.columns[at];
    const sort = state.order.column === at ? (state.order.falling ? "descending" : "ascending") : "none";
    const turn = () => {
      const { column, falling } = state.order;
      const first = isNumeric(board, at) && board.direction === "max" && at === board.score;
      state.order = column !== at ? { column: at, falling: first } : falling === first ? { column: at, falling: !first } : plainOrder;
      state.draw();
      state.body.querySelectorAll("thead button")[shown.indexOf(at)].focus();
    };
    head.append(
      make("th", { scope: "col", "aria-sort": sort, class: alignment(board, at) },
        make("button", { type: "button", title: help || null, click: turn }, name)),
    );
  }
  head.append(make("th", { scope: "col" }, "records"));
  const table = make("table", {}, make("caption", { class: "hidden" }, board.title), make("thead", {}, head));
  const ordered = sorted(rows, state.order);
  const groups = state.order.column === null && new Set(rows.map((row) => row.group)).size > 1;
  let body = null;
  let group = null;
  for (const row of ordered.slice(0, state.limit)) {
    if (body === null || (groups && row.group !== group)) {
      body = make("tbody");
      table.append(body);
      group = row.group;
      if (groups) {
        const title = make("th", { scope: "rowgroup", class: "group", colspan: shown.length + 1 }, board.groups[group]);
        body.append(make("tr", {}, title));
      }
    }
    const line = make("tr", { class: row.best ? "best" : null });
    for (const at of shown) {
      const text = row.cells[at][0];
      if (board.columns[at].name === "method") line.append(make("th", { scope: "row" }, swatch(row.method), breakable(text)));
      else line.append(make("td", { class: alignment(board, at) }, text));
    }
    line.append(make("td", {}, row.seeds.map(([seed, number]) =>
      number === null ? ` ${seed} ` : [" ", recordLink(number, String(seed), `Record of ${row.method}, seed ${seed}`)])));
    body.append(line);
  }
  return table;
};

const boardPanel = (board) => {
  const state = { order: plainOrder, limit: FIRST_ROWS, rows: board.rows, more: false, drawn: false, body: null, draw: null };
  const aside = make("span", { class: "aside" });
  const body = make("div", { class: "body" });
  const panel = make("details", { class: "board" },
    make("summary", {}, make("h3", {}, board.title), aside), body);
  state.body = body;
  board.score = board.columns.findIndex((column) => column.name.startsWith(board.metric));
  const scroll = scrolling(board.title);
  const rest = make("p", { class: "tools" });
  state.draw = () => {
    if (!state.drawn) {
      state.drawn = true;
      body.append(make("ul", { class: "answer" }, board.answer.map((sentence) => make("li", {}, sentence))));
      body.append(scroll, rest);
      if (board.detail) body.append(make("div", { class: "detail" }, make("h4", {}, board.detail.title), plainTable(board.detail)));
      if (board.settling) {
        body.append(make("div", { class: "detail" }, make("h4", {}, board.settling.title),
          make("ul", { class: "answer" }, board.settling.answer.map((sentence) => make("li", {}, sentence))),
          plainTable(board.settling), make("ul", { class: "notes" }, board.settling.notes.map((note) => make("li", {}, note))),
          make("details", { class: "reading" }, make("summary", {}, board.settling.detail.title), plainTable(board.settling.detail))));
      }
      body.append(make("ul", { class: "notes" }, board.notes.map((note) =>
        make("li", { class: note.startsWith("WARNING") ? "note-warning" : null }, note))));
      if (board.figures.length) {
        body.append(make("div", { class: "figures" }, board.figures.map(({ number, caption }) => figure(number, caption))));
      }
    }
    scroll.replaceChildren(drawTable(board, state, state.rows, state.more));
    rest.replaceChildren();
    if (state.rows.length > state.limit) {
      const all = () => { state.limit = Infinity; state.draw(); };
      rest.append(make("button", { type: "button", class: "quiet", click: all }, `Show all ${counted(state.rows.length, "row")}`));
    }
  };
  panel.addEventListener("toggle", () => { if (panel.open) state.draw(); });
  return {
    board, panel,
    show: (rows, more) => {
      const changed = rows.length !== state.rows.length || rows.some((row, at) => row !== state.rows[at]) || more !== state.more;
      state.rows = rows;
      state.more = more;
      panel.hidden = !rows.length;
      aside.textContent = `${board.suite} \u00b7 ${rows.length === board.rows.length ? counted(rows.length, "row")
        : `${rows.length} of ${counted(board.rows.length, "row")}`}`;
      if (panel.open && (changed || !state.drawn)) state.draw();
    },
  };
};

const showLeaderboard = async () => {
  const boards = await unpack("boards");
  const panels = boards.map(boardPanel);
  byId("boards").append(...panels.map(({ panel }) => panel));
  const distinct = (values) => [...new Set(values)].sort((a, b) => a.localeCompare(b, "en"));
  const fields = Object.fromEntries(FILTERS.map((name) => [name, byId(`filter-${name}`)]));
  for (const name of ["suite", "architecture", "benchmark"]) options(fields[name], distinct(boards.map((board) => board[name])), "all");
  options(fields.method, distinct(boards.flatMap((board) => board.rows.map((row) => row.method))), "all");
  for (const board of boards) {
    const words = [board.title, board.suite, board.metric, board.protocol].join(" ");
    for (const row of board.rows) row.words = `${words} ${row.cells.map((cell) => cell[0]).join(" ")}`.toLowerCase();
  }

  const filter = () => {
    const words = fields.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const bound = (name, otherwise) => (fields[name].value === "" ? otherwise : fields[name].valueAsNumber);
    const [low, high] = [bound("low", -Infinity), bound("high", Infinity)];
    let [rowCount, tableCount] = [0, 0];
    for (const { board, show } of panels) {
      const fits = ["suite", "architecture", "benchmark"].every((name) => !fields[name].value || board[name] === fields[name].value);
      const rows = !fits ? [] : board.rows.filter((row) =>
        (!fields.method.value || row.method === fields.method.value) && within(row.density, low, high) &&
        words.every((word) => row.words.includes(word)));
      rowCount += rows.length;
      tableCount += rows.length > 0;
      show(rows, byId("more-columns").checked);
    }
    byId("found").textContent = rowCount ? `${counted(rowCount, "row")} in ${counted(tableCount, "table")}` : "Nothing fits all of these filters.";
  };
  for (const event of ["input", "change"]) byId("filters").addEventListener(event, filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(filter));
  const openAll = (open) => () => panels.forEach(({ panel }) => { if (!panel.hidden) panel.open = open; });
  byId("open-all").addEventListener("click", openAll(true));
  byId("close-all").addEventListener("click", openAll(false));

  let opened = 0;
  const started = new Set();
  for (const { board, panel } of panels) {
    // Everything, if it is little; else each suite's first table.
    const total = boards.reduce((sum, other) => sum + other.rows.length, 0);
    if (total <= OPEN_ROWS || (!started.has(board.suite) && opened < OPEN_ROWS)) {
      panel.open = true;
      opened += board.rows.length;
      started.add(board.suite);
    }
  }
  filter();
  if (!boards.length) byId("found").textContent = "No finished cell: there is nothing to rank.";
};
