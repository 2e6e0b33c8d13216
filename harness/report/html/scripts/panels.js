// Sections of panels, one for each table, some with a detail: networks, tuning. A section without any goes.

const showPanels = (section, open = false) => {
  const body = byId(`${section}-body`);
  for (const suite of index.suites) {
    for (const table of suite[section]) {
      body.append(make("details", { class: "board", "data-suite": suite.name, open },
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
    byId(section).hidden = byId(`to-${section}`).hidden = ![...body.children].some((panel) => !panel.hidden);
  });
};
