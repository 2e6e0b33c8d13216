// What was run, and what is left out.

const showSuites = () => {
  const sum = (name) => index.suites.reduce((total, suite) => total + suite[name], 0);
  const missing = index.suites.reduce((total, suite) => total + suite.missing.length, 0);
  byId("summary").textContent =
    `${counted(index.suites.length, "suite")}, ${counted(sum("counted"), "finished result")}, ` +
    `${sum("failed").toLocaleString("en")} not usable, ${missing.toLocaleString("en")} not finished.` +
    (index.newest ? ` Newest: ${index.newest}.` : "");
  const boxes = index.suites.map((suite) => {
    const facts = make("dl", {}, make("dt", {}, "Reproduce"), make("dd", {}, make("code", {}, suite.command)),
      make("dt", {}, "Folder"), make("dd", {}, make("code", {}, `${suite.name}/`)));
    for (const [name, values] of Object.entries(suite.facts)) {
      if (values.length) facts.append(make("dt", {}, name), make("dd", {}, values.join("; ")));
    }
    const state = [`${suite.counted.toLocaleString("en")} counted`, `${suite.failed.toLocaleString("en")} failed or unusable`,
      `${suite.missing.length.toLocaleString("en")} not finished`];
    const results = make("dd", {}, state.join(", "));
    if (suite.left.length || suite.missing.length) results.append(" (", make("a", { href: "#left-out" }, "reasons"), ")");
    facts.append(make("dt", {}, "Results"), results);
    return make("div", { class: "suite", "data-suite": suite.name }, make("h3", {}, suite.name), make("p", {}, suite.description), facts);
  });
  byId("suite-list").append(...boxes);
  onFilter(() => { for (const box of boxes) box.hidden = !fitsSuite(box.dataset.suite); });
};

const showLeftOut = () => {
  const body = byId("left-out-body");
  for (const suite of index.suites) {
    const total = suite.left.length + suite.missing.length;
    if (!total && !suite.obsolete) continue;
    const box = make("details", { open: total > 0 && total <= 30, "data-suite": suite.name }, make("summary", {}, make("h3", {}, suite.name),
      make("span", { class: "aside" }, counted(total, "entry").replace("entrys", "entries"))));
    let filled = false;
    const fill = () => {
      if (filled) return;
      filled = true;
      const listed = make("ul", { class: "left" });
      for (const [file, why, number] of suite.left) {
        listed.append(make("li", {}, number === null ? make("code", {}, file) : recordLink(number, file), `: ${why}`));
      }
      for (const name of suite.missing) listed.append(make("li", {}, make("code", {}, name), ": not finished yet"));
      if (suite.obsolete) {
        listed.append(make("li", {}, `${counted(suite.obsolete, "further file")} of results that the suite no longer has`));
      }
      box.append(listed);
    };
    box.addEventListener("toggle", fill);
    if (box.open) fill();
    body.append(box);
  }
  if (!body.childElementCount) body.append(make("p", {}, "Nothing: every result of these suites is counted."));
  onFilter(() => { for (const box of body.querySelectorAll("details")) box.hidden = !fitsSuite(box.dataset.suite); });
};
