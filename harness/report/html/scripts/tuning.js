// What was tuned: a panel for each table; the section goes where nothing was.

const showTuning = () => {
  const body = byId("tuning-body");
  for (const suite of index.suites) {
    for (const table of suite.tuning) {
      body.append(make("details", { class: "board" },
        make("summary", {}, make("h3", {}, table.title), make("span", { class: "aside" }, suite.name)),
        make("div", { class: "body" }, make("ul", { class: "answer" }, table.answer.map((sentence) => make("li", {}, sentence))),
          plainTable(table),
          make("ul", { class: "notes" }, table.notes.map((note) => make("li", {}, note))),
          make("details", { class: "reading" }, make("summary", {}, table.detail.title), plainTable(table.detail)))));
    }
  }
  byId("tuning").hidden = byId("to-tuning").hidden = !body.childElementCount;
};
