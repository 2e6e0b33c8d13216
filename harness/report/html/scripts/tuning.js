// What was tuned: a panel for each table, some with a detail; the section goes where nothing was.

const showTuning = () => {
  const body = byId("tuning-body");
  for (const suite of index.suites) {
    for (const table of suite.tuning) {
      body.append(make("details", { class: "board", "data-suite": suite.name },
        make("summary", {}, make("h3", {}, table.title), make("span", { class: "aside" }, suite.name)),
        make("div", { class: "body" }, list("answer", table.answer),
          plainTable(table),
          list("notes", table.notes),
          table.detail && make("details", { class: "reading" },
            make("summary", {}, table.detail.title), plainTable(table.detail)))));
    }
  }
  onFilter(() => {
    for (const panel of body.children) panel.hidden = !fitsSuite(panel.dataset.suite);
    byId("tuning").hidden = byId("to-tuning").hidden = ![...body.children].some((panel) => !panel.hidden);
  });
};
