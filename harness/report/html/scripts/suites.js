// The head of the page, and what is left out at its end.

const showSuites = () => {
  const sum = (name) => index.suites.reduce((total, suite) => total + suite[name], 0);
  const missing = index.suites.reduce((total, suite) => total + suite.missing.length, 0);
  byId("summary").textContent =
    `${counted(index.suites.length, "suite")}, ${counted(sum("counted"), "finished cell")}, ` +
    `${sum("failed").toLocaleString("en")} not usable, ${missing.toLocaleString("en")} not finished.` +
    (index.newest ? ` Newest result: ${index.newest}.` : "");
  for (const suite of index.suites) {
    const facts = make("dl", {}, make("dt", {}, "Reproduce"), make("dd", {}, make("code", {}, suite.command)));
    for (const [name, values] of Object.entries(suite.facts)) {
      if (values.length) facts.append(make("dt", {}, name), make("dd", {}, values.join("; ")));
    }
    const state = [`${suite.counted.toLocaleString("en")} counted`, `${suite.failed.toLocaleString("en")} failed or unusable`,
      `${suite.missing.length.toLocaleString("en")} not finished`];
    const cells = make("dd", {}, state.join(", "));
    if (suite.left.length || suite.missing.length) cells.append(" (", make("a", { href: "#left-out" }, "reasons"), ")");
    facts.append(make("dt", {}, "Cells"), cells);
    byId("suite-list").append(
      make("div", { class: "suite" }, make("h3", {}, suite.name), make("p", {}, suite.description), facts),
    );
  }
};

const showLeftOut = () => {
  const body = byId("left-out-body");
  for (const suite of index.suites) {
    const total = suite.left.length + suite.missing.length;
    if (!total && !suite.obsolete) continue;
    const box = make("details", { open: total > 0 && total <= 30 }, make("summary", {}, make("h3", {}, suite.name),
      make("span", { class: "aside" }, counted(total, "entry").replace("entrys", "entries"))));
    let filled = false;
    const fill = () => {
      if (filled) return;
      filled = true;
      const list = make("ul", { class: "left" });
      for (const [file, why, number] of suite.left) {
        list.append(make("li", {}, number === null ? make("code", {}, file) : recordLink(number, file), `: ${why}`));
      }
      for (const cell of suite.missing) list.append(make("li", {}, make("code", {}, cell), ": not finished yet"));
      if (suite.obsolete) {
        list.append(make("li", {}, `${counted(suite.obsolete, "further file")} of cells that the suite no longer has`));
      }
      box.append(list);
    };
    box.addEventListener("toggle", fill);
    if (box.open) fill();
    body.append(box);
  }
  if (!body.childElementCount) body.append(make("p", {}, "Nothing: every cell of these suites is counted."));
};
