// The tables: one beneath the plot, the others to open; they sort by value, and are filtered together.

const FIRST_ROWS = 200;

const plainOrder = { column: null, falling: false };
const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en"));

const sorted = (rows, order) => {
  if (order.column === null) return rows;
  const value = (row) => row.cells[order.column][1];
  const known = rows.filter((row) => value(row) !== null);
  known.sort((a, b) => (order.falling ? -1 : 1) * compare(value(a), value(b)));
  return [...known, ...rows.filter((row) => value(row) === null)];
};

const isNumeric = (board, column) => board.rows.some((row) => typeof row.cells[column][1] === "number");
// Numbers stand right; what holds an interval, a name or a unit stands left, so that it begins beside its neighbour.
const alignment = (board, column) =>
  isNumeric(board, column) && board.rows.every((row) => !row.cells[column][0].includes(" ")) ? "number" : null;

// A narrow screen begins with what a row is and its score; what else it has is shown on demand, and density stands above
// rows that are grouped by it.
const shownColumns = (board, more, grouped) => {
  const all = board.columns.map((column, at) => at).filter((at) => more || !board.columns[at].more);
  if (!narrow.matches) return all;
  const first = ["method", board.columns[board.score].name, ...(grouped ? [] : ["density"])].map((name) => board.columns.findIndex((column) => column.name === name));
  return more ? [...first, ...all.filter((at) => !first.includes(at))] : first;
};

// One table; `state` remembers its order and how many rows are shown.
const drawTable = (board, state, rows, more) => {
  const groups = state.order.column === null && new Set(rows.map((row) => row.group)).size > 1;
  const shown = shownColumns(board, more, groups);
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
  head.append(make("th", { scope: "col", title: "each seed leads to its result" }, "seeds"));
  const table = make("table", {}, make("caption", { class: "hidden" }, board.title), make("thead", {}, head));
  const ordered = sorted(rows, state.order);
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
    const line = make("tr", { class: row.best ? "best" : null, id: `row-${board.number}-${row.at}`, tabindex: "-1" });
    for (const at of shown) {
      const text = row.cells[at][0];
      if (board.columns[at].name === "method") line.append(make("th", { scope: "row" }, swatch(row.method), breakable(text)));
      else line.append(make("td", { class: alignment(board, at) || (text.length > (narrow.matches ? 20 : 26) ? "long" : null) }, text));
    }
    line.append(make("td", { class: "seeds" }, row.seeds.map(([seed, number]) =>
      number === null ? ` ${seed} ` : [" ", recordLink(number, String(seed), `Result of ${row.method}, seed ${seed}`)])));
    body.append(line);
  }
  return table;
};

// The parts of a table's body that stand in it whatever is filtered.
const below = (board) => {
  const parts = [];
  if (board.detail) parts.push(make("div", { class: "detail" }, make("h4", {}, board.detail.title), plainTable(board.detail)));
  const { settling } = board;
  if (settling) {
    parts.push(make("div", { class: "detail" }, make("h4", {}, settling.title), list("answer", settling.answer), plainTable(settling),
      list("notes", settling.notes), make("details", { class: "reading" }, make("summary", {}, settling.detail.title), plainTable(settling.detail))));
  }
  parts.push(make("ul", { class: "notes" }, board.notes.map((note) =>
    make("li", { class: note.startsWith("WARNING") ? "note-warning" : null }, note))));
  if (board.figures.length) {
    parts.push(make("div", { class: "figures" }, board.figures.map(({ number, caption }) => figure(number, caption))));
  }
  return parts;
};

// A table with all that belongs to it, in a panel to open or beneath the plot.
const boardPanel = (board) => {
  const state = { order: plainOrder, limit: FIRST_ROWS, drawn: "", body: make("div", { class: "body" }), draw: null };
  const aside = make("span", { class: "aside" });
  const panel = make("details", { class: "board" }, make("summary", {}, make("h3", {}, board.title), aside), state.body);
  const scroll = scrolling(board.title);
  const rest = make("p", { class: "tools" });
  let chosen = false;
  const more = () => byId("more-columns").checked;
  state.draw = () => {
    if (!state.body.childElementCount) state.body.append(list("answer board-answer", board.answer), scroll, rest, ...below(board));
    scroll.replaceChildren(drawTable(board, state, board.shown, more()));
    endAtColumn(scroll);
    rest.replaceChildren();
    if (board.shown.length > state.limit) {
      const all = () => { state.limit = Infinity; state.draw(); };
      rest.append(make("button", { type: "button", class: "quiet", click: all }, `Show all ${counted(board.shown.length, "row")}`));
    }
  };
  const update = () => {
    panel.hidden = !board.shown.length || chosen;
    aside.textContent = `${board.suite} \u00b7 ${board.shown.length === board.rows.length ? counted(board.rows.length, "row")
      : `${board.shown.length} of ${counted(board.rows.length, "row")}`}`;
    const now = [narrow.matches, more(), ...board.shown.map((row) => row.at)].join();
    if ((panel.open || chosen) && now !== state.drawn) {
      state.drawn = now;
      state.draw();
    }
  };
  panel.addEventListener("toggle", update);
  return { board, panel, update,
    choose: (yes) => {
      if (chosen === yes) return;
      chosen = yes;
      if (yes) byId("chosen").replaceChildren(state.body);
      else panel.append(state.body);
      update();
    } };
};

const showLeaderboard = (boards) => {
  boards.forEach((board, number) => {
    board.number = number;
    board.score = board.columns.findIndex((column) => column.name.startsWith(board.metric));
    const words = [board.title, board.suite, board.metric, board.protocol].join(" ");
    board.rows.forEach((row, at) => {
      row.at = at;
      row.words = `${words} ${row.cells.map((cell) => cell[0]).join(" ")}`.toLowerCase();
    });
  });
  const panels = boards.map(boardPanel);
  byId("boards").append(...panels.map(({ panel }) => panel));
  const update = () => {
    panels.forEach((panel) => panel.update());
    byId("other-tables").hidden = !panels.some(({ panel }) => !panel.hidden);
  };
  onFilter(() => {
    let [rows, tables] = [0, 0];
    for (const board of boards) {
      board.shown = fitsGroup({ ...board, benchmarks: [board.benchmark] }) ? board.rows.filter((row) => fitsRow(row) && said(row.words)) : [];
      rows += board.shown.length;
      tables += board.shown.length > 0;
    }
    byId("found").textContent = rows ? `${counted(rows, "row")} in ${counted(tables, "table")}`
      : boards.length ? "Nothing fits all of these filters." : "No finished result: there is nothing to rank.";
    update();
  });
  byId("more-columns").addEventListener("change", update);
  narrow.addEventListener("change", update);
  const openAll = (open) => () => panels.forEach(({ panel }) => { if (!panel.hidden) panel.open = open; });
  byId("open-all").addEventListener("click", openAll(true));
  byId("close-all").addEventListener("click", openAll(false));
  return { choose: (chosen) => {
    byId("chosen-title").textContent = chosen ? `${chosen.title} (${chosen.suite})` : "";
    for (const panel of panels) if (panel.board !== chosen) panel.choose(false);
    for (const panel of panels) if (panel.board === chosen) panel.choose(true);
    update();
  } };
};
