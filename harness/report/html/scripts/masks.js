// Mask pictures, and how far seeds agree.

const matrix = (run) => {
  const head = make("tr", {}, make("th", { scope: "col" }, "seed"), run.seeds.map((seed) => make("th", { scope: "col" }, String(seed))));
  const rows = run.seeds.map((seed, i) =>
    make("tr", {}, make("th", { scope: "row" }, String(seed)), run.seeds.map((other, j) =>
      make("td", {}, i === j ? "\u2013" : [steady(run.overlap[i][j]), make("small", {}, `chance ${steady(run.chance[i][j])}`)]))));
  return scrolling(`Overlap between seeds, ${run.title}`,
    make("table", { class: "matrix" }, make("caption", { class: "hidden" }, "Mask overlap between seeds"),
      make("thead", {}, head), make("tbody", {}, rows)));
};

const pairs = (square) => square.flatMap((row, i) => row.filter((value, j) => j > i));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

const convergenceTable = (overview) => {
  const names = ["networks", "density", "seeds", "overlap", "lowest", "highest", "by chance", "overlap / chance"];
  const rows = overview.map((run) => {
    const [found, chance] = [pairs(run.overlap), pairs(run.chance)];
    const numbers = [density(run.density), String(run.seeds.length), steady(mean(found)), steady(Math.min(...found)),
      steady(Math.max(...found)), steady(mean(chance)), mean(chance) > 0 ? (mean(found) / mean(chance)).toFixed(2) : "\u2013"];
    return make("tr", {}, make("th", { scope: "row" }, run.title), numbers.map((text) => make("td", { class: "number" }, text)));
  });
  return scrolling("Topology convergence",
    make("table", {}, make("caption", { class: "hidden" }, "Topology convergence between seeds"),
      make("thead", {}, make("tr", {}, names.map((name, at) => make("th", { scope: "col", class: at ? "number" : null }, name)))),
      make("tbody", {}, rows)));
};

const picture = (connection) => {
  const kept = connection.kept / connection.size;
  const shape = connection.shape.join(" \u00d7 ");
  const image = make("img", {
    src: connection.picture, loading: "lazy",
    alt: `Mask of ${connection.name}: ${shape} weights, density ${density(kept)}`,
  });
  const shown = make("figure", {}, image, make("figcaption", {}, connection.name, make("br"), `${shape}, density ${density(kept)}`));
  if (!connection.strength) return [shown];
  const [strength, most] = [connection.strength.picture, `black: ${connection.strength.most} times an even share`];
  const soft = make("img", { src: strength, loading: "lazy", alt: `Attention of ${connection.name} by its soft mask, ${most}` });
  return [shown, make("figure", {}, soft, make("figcaption", {}, connection.name, ", by its soft mask", make("br"), most))];
};

const drawMasks = (place, group, contents) => {
  const run = (index.sections.masks.overview || []).find((one) => one.title === group.title);
  if (run) {
    const rows = run.connections.map(([name, found, chance]) =>
      make("tr", {}, make("th", { scope: "row" }, name), [found, chance].map((value) => make("td", { class: "number" }, steady(value)))));
    const heads = ["connection", "overlap", "by chance"].map((name, at) => make("th", { scope: "col", class: at ? "number" : null }, name));
    place.append(make("h3", {}, "Overlap between seeds"), matrix(run),
      make("details", {}, make("summary", {}, "By connection, mean over pairs of seeds"),
        scrolling("Overlap by connection", make("table", {}, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, rows)))));
  }
  const seeds = make("select", { id: "masks-seed" });
  group.members.forEach((member, at) => seeds.append(make("option", { value: String(at) }, `seed ${member.seed}`)));
  const pictures = make("div");
  const show = () => {
    const content = contents[Number(seeds.value)];
    pictures.replaceChildren();
    const kinds = [...new Set(content.connections.map((connection) => connection.kind))];
    for (const kind of kinds) {
      pictures.append(make("h4", {}, `Connections: ${kind}`),
        make("div", { class: "pictures" }, content.connections.filter((connection) => connection.kind === kind).flatMap(picture)));
    }
    if (content.omitted) pictures.append(make("p", { class: "note-warning" }, `${counted(content.omitted, "further connection")} not shown.`));
  };
  seeds.addEventListener("change", show);
  place.append(make("h3", { class: "after" }, "Pictures"),
    make("p", { class: "intro" }, "Rows are outputs, columns inputs. Black: every weight of the block is kept; white: none. " +
      "Connections with more than 64 rows or columns are shown in blocks."),
    make("div", { class: "choose" }, make("label", {}, "Seed", seeds)), pictures);
  show();
};

const showMasks = () => {
  const body = byId("masks-body");
  const without = index.suites.filter((suite) => suite.counted && !suite.masks);
  const how = without.length
    ? `No masks were kept with ${without.map((suite) => suite.name).join(", ")}: these results are older than mask files. ` +
      `Run the suite again into a new folder to get them: ${without.map((suite) => `${suite.command} --results NEW_FOLDER`).join("; ")}.`
    : "No network has a mask.";
  const agreements = make("div");
  const seeds = make("div");
  body.append(agreements, seeds);
  const { overview, groups } = index.sections.masks;
  onFilter(() => {
    agreements.replaceChildren(...index.suites.filter(({ name }) => fitsSuite(name)).flatMap((suite) => suite.agreements).flatMap((table) =>
      [make("h3", {}, table.title), list("answer", table.answer), plainTable(table), list("notes", table.notes)]));
    const fit = new Set(groups.filter((group) => fitting(group).length).map(({ title }) => title));
    const shown = (overview || []).filter(({ title }) => fit.has(title));
    seeds.replaceChildren(...(shown.length ? [make("h3", {}, "Do seeds find the same mask?"),
      make("p", { class: "intro" }, "Overlap: weights kept by both seeds over weights kept by either (Jaccard index), over all pairs of seeds. " +
        "By chance: what independent uniform masks with the same number of weights in each connection would share."),
      make("details", { open: shown.length <= 20 }, make("summary", {}, counted(shown.length, "network")), convergenceTable(shown))] : []));
  });
  chooser("masks", "Networks", how, drawMasks);
  if (without.length && groups.length) body.append(make("p", { class: "intro" }, how));
};
