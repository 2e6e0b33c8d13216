// What the page opens on: the answers of one table in words, and its plot, chosen beside it.

const BY_METHOD = "method";
const BRIEF = 5;
const plotted = { board: null, x: null, y: 0 };
const boardFollowers = []; // told when another table is chosen

const boardId = (board) => `row-${board.number}`;
// A row's points: what is drawn of it on the axis and metric that are chosen.
const points = (board, rows) => {
  const { axes, points: all, metrics } = board.plot;
  const axis = axes.findIndex(({ key }) => key === plotted.x);
  return rows.flatMap((row) => {
    const point = all[row.at];
    const found = point.y[plotted.y];
    if (!found) return [];
    const [mean, low, high, text, scores] = found;
    const x = axis < 0 ? null : point.x[axis];
    const name = point.name === row.method ? row.method : point.name;
    const where = axis < 0 ? `density ${density(row.density)}` : `${axes[axis].name} ${x === null ? "unknown" : short(x, 4)}`;
    const seeds = scores.flatMap((score, at) => {
      if (score === null) return [];
      const [seed, number] = row.seeds[at] || [at, null];
      const own = point.densities && plotted.x === "density_mask" ? point.densities[at] : x;
      const cut = point.cut ? point.cut[at] : "";
      return [{ x: own, y: score, method: row.method, cut, alone: point.densities !== null, told: `${name}, seed ${seed}${point.densities ? `, density ${density(point.densities[at])}` : ""}: ${short(score, 5)}${cut ? ` (${cut}: its output does not depend on the input)` : ""}`,
        href: number === null || number === undefined ? `#${boardId(board)}-${row.at}` : recordHash(number) }];
    });
    return [{ ...point, row, name, x, mean, low, high, seeds, mixed: point.densities !== null, one: scores.length === 1, method: row.method,
      told: `${name}, ${where}: ${metrics[plotted.y].name} ${text || "seed by seed, without a mean"}`, href: `#${boardId(board)}-${row.at}` }];
  });
};

// What a scale has to hold: a row that does not work in any seed only where there is no other.
const scaled = (points, metric) => {
  const working = points.filter(({ lost }) => !lost);
  const shown = working.length ? working : points;
  const means = shown.map(({ mean }) => mean);
  const single = shown.filter(({ mean }) => mean === null).flatMap(({ seeds }) => seeds.map(({ y }) => y));
  const ends = shown.flatMap(({ low, high, seeds }) => [low, high, ...seeds.map(({ y }) => y)]);
  return metricScale(finite([...means, ...single]), finite(ends), metric.direction, metric.share);
};

const drawPoints = (board, found, width, readout) => {
  const metric = board.plot.metrics[plotted.y];
  const axis = board.plot.axes.find(({ key }) => key === plotted.x);
  const means = found.filter((point) => point.mean !== null);
  const onDensity = plotted.x === "density_mask";
  const levels = means.filter((point) => point.level);
  const placed = found.filter((point) => !(point.level && onDensity));
  const xs = finite(placed.flatMap((point) => (point.mixed && onDensity ? point.seeds.map(({ x }) => x) : [point.x])));
  if (!xs.length) return null;
  const y = scaled(found, metric);
  const { svg, lines, px, py, beyond, left, right } = frame({
    width, height: Math.max(300, Math.min(620, width * 0.66)), y, yName: metric.label,
    x: onDensity || plotted.x === "density_total" ? densityScale(xs, finite(placed.filter(({ mixed }) => !mixed).map((point) => point.x))) : costScale(xs),
    xName: axis.name + (onDensity ? " (falls to the right)" : ""), title: `${metric.name} against ${axis.name}, ${board.title}`,
  });
  for (const { mean, low, high } of levels) {
    if (low !== null) svg.append(draw("path", { class: "band level", d: `${path([[left, py(high)], [right, py(high)], [right, py(low)], [left, py(low)]])}z` }));
    svg.append(draw("path", { class: "line level", d: path([[left, py(mean)], [right, py(mean)]]) }));
  }
  const dash = dashes(board.rows.map((row) => row.method));
  const byName = placed.reduce((by, point) => by.set(point.name, [...(by.get(point.name) || []), point]), new Map());
  for (const line of byName.values()) {
    const node = group(svg, line[0].method);
    const means = line.filter(({ mean, x }) => mean !== null && x !== null).sort((a, b) => a.x - b.x);
    if (means.length > 1) group(lines, line[0].method).append(draw("path", { class: "line", "stroke-dasharray": dash.get(line[0].method), d: path(means.map((point) => [px(point.x), beyond(point.mean)])) }));
    for (const point of line) {
      const seeds = point.seeds.filter((seed) => seed.x !== null && (point.mixed || y.holds(seed.y)));
      const spots = seeds.map((seed) => [px(seed.x), py(seed.y)]);
      if (point.mixed && spots.length > 1) node.append(draw("path", { class: "thin", d: path([...spots].sort((a, b) => a[0] - b[0])) }));
      if (point.seeds.length > 1 || point.mixed) {
        node.append(...seeds.map((seed, at) => seedMark(svg, seed, spots[at], beyondEdge(y, seed.y, false), readout, false)));
      }
    }
    for (const point of means) {
      const interval = point.low === null ? null : [py(point.low), py(point.high)];
      node.append(...mark(svg, point, [px(point.x), py(point.mean)], interval, beyondEdge(y, point.mean, false), readout, false));
    }
  }
  return svg;
};

// A line for each row, the best on top: where methods are many and densities few.
const drawRows = (board, found, width, readout) => {
  const metric = board.plot.metrics[plotted.y];
  const sign = metric.direction === "min" ? 1 : -1;
  const often = new Set(found.map(({ name }) => name)).size < found.length;
  const middle = (point) => (point.mean !== null ? point.mean : point.seeds.reduce((sum, seed) => sum + seed.y, 0) / (point.seeds.length || 1));
  const shown = found.filter((point) => point.mean !== null || point.seeds.length)
    .sort((a, b) => Number(a.lost) - Number(b.lost) || sign * (middle(a) - middle(b)));
  if (!shown.length) return null;
  const x = scaled(shown, metric);
  const names = shown.map((point) => (often ? `${point.name}, ${point.mixed ? "mixed" : density(point.row.density)}` : point.name));
  const left = Math.min(width * 0.42, 14 + 7.3 * Math.max(...names.map((name) => name.length)));
  const most = Math.floor((left - 14) / 7.1);
  const step = 21;
  const y = { at: (value) => 1 - (value + 0.5) / shown.length, marks: [] };
  const { svg, px, py, top, bottom } = frame({
    width, height: step * shown.length + MARGIN.top + MARGIN.bottom, x, y, xName: metric.label, left, title: `${metric.name} of each row, ${board.title}`,
  });
  for (const [value] of x.marks) svg.append(draw("path", { class: "grid", d: path([[px(value), top], [px(value), bottom]]) }));
  for (const { mean, low, high } of shown.filter(({ level, mean }) => level && mean !== null)) {
    if (low !== null) svg.append(draw("path", { class: "band level", d: `${path([[px(low), top], [px(high), top], [px(high), bottom], [px(low), bottom]])}z` }));
    svg.append(draw("path", { class: "line level", d: path([[px(mean), top], [px(mean), bottom]]) }));
  }
  shown.forEach((point, at) => {
    const node = group(svg, point.method);
    const tail = Math.floor(most / 2) - 1; // ends tell names apart
    const text = names[at].length > most ? `${names[at].slice(0, most - 1 - tail)}\u2026${names[at].slice(-tail)}` : names[at];
    node.append(draw("text", { x: left - 12, y: py(at) + 4, "text-anchor": "end" }, draw("title", {}, names[at]), text));
    const seeds = point.seeds.filter((seed) => point.mixed || x.holds(seed.y));
    if (point.seeds.length > 1 || point.mixed) {
      node.append(...seeds.map((seed) => seedMark(svg, seed, [px(seed.y), py(at)], beyondEdge(x, seed.y, true), readout, true)));
    }
    if (point.mean === null) return;
    const interval = point.low === null ? null : [px(point.low), px(point.high)];
    node.append(...mark(svg, point, [px(point.mean), py(at)], interval, beyondEdge(x, point.mean, true), readout, true));
  });
  return svg;
};

// What the marks mean, as far as they are there.
const explained = (board, found) => {
  const over = [...new Set(found.filter(({ low }) => low !== null).map(({ over }) => over))].join(" or over ");
  const level = found.find((point) => point.level && point.mean !== null);
  const own = (text, kind) => make("li", {}, make("span", { class: `sign ${kind}`, "aria-hidden": "true" }), text);
  return [
    level ? own(`Grey line and band: the mean of ${level.method}, with nothing masked${level.low === null ? "" : `, and its 95 % interval over ${level.over}`}. ` +
      "The band says how surely that one mean is known; whether a row differs from it is told by the answer, which compares seed by seed.", "grey") : null,
    make("li", {}, `Large marks: means over seeds.${over ? ` Bars: 95 % intervals over ${over}.` : ""} Small, faint marks: single seeds, each leads to its result.`),
    found.some(({ mixed }) => mixed) ? make("li", {}, "Round marks on a thin line: single seeds, whose densities differ, so that they have no mean.") : null,
    found.some(({ one, mixed }) => one && !mixed) ? make("li", {}, "Hollow: one seed, which tells nothing of others.") : null,
    found.some(({ small }) => small) ? make("li", {}, "Ringed: a smaller network without mask, where a mask leaves the whole one as many parameters.") : null,
    board.plot.metrics[plotted.y].share ? make("li", {}, "A scale of logits, on which shares are compared.") : null,
    found.some(({ lost }) => lost) ? make("li", {}, "Crossed: in no seed does the output depend on the input.") : null,
  ].filter(Boolean);
};

const fewDensities = (board) => {
  if (board.plot.points.some(({ densities }) => densities)) return false;
  const masked = board.rows.filter((row) => row.density < 1).map((row) => row.density).sort((a, b) => a - b);
  const levels = masked.filter((value, at) => at === 0 || value > 1.05 * masked[at - 1]).length;
  return levels < 2;
};

const showOverview = (boards, panels) => {
  const [suite, table, across, up] = ["suite", "table", "x", "y"].map((name) => byId(`plot-${name}`));
  const [host, readout, legend] = ["plot-host", "plot-told", "plot-legend"].map(byId);
  const pointAt = "Point at a mark, or tab to it, to read it here; press it for its row or its result.";
  const fits = (board) => board.shown.length > 0;
  const best = (some) => some.reduce((a, b) => (b.told > a.told ? b : a));

  const redraw = () => {
    const board = plotted.board;
    if (!board || !host.clientWidth) return;
    const found = points(board, board.shown);
    const drawn = (plotted.x === BY_METHOD ? drawRows : drawPoints)(board, found, host.clientWidth, readout);
    host.replaceChildren(drawn || make("p", { class: "intro" }, "No row has a value on both axes."));
    readout.textContent = pointAt;
    byId("plot-signs").replaceChildren(...explained(board, found),
      ...(host.querySelector(".seed .lost") ? [make("li", {}, "Small crosses: single seeds whose output does not depend on the input.")] : []),
      ...(host.querySelector(".off") ? [make("li", {}, "Triangles at the edge point to what is off the scale.")] : []));
    const methods = [...new Set(board.rows.map((row) => row.method))].sort((a, b) => a.localeCompare(b, "en"));
    legend.replaceChildren(...methods.map((method) => make("li", {}, make("button", {
      type: "button", "aria-pressed": String(filters.methods.has(method)), class: fitsMethod(method) ? null : "away",
      click: () => { toggleMethod(method); [...legend.querySelectorAll("button")].find((one) => one.textContent === method)?.focus(); },
      pointerenter: () => drawn && light(drawn, method), pointerleave: () => drawn && light(drawn, null),
      focus: () => drawn && light(drawn, method), blur: () => drawn && light(drawn, null),
    }, swatch(method), make("span", {}, method)))));
  };

  // `fresh`: another table, whose axes are chosen anew.
  const show = (board, fresh = true) => {
    plotted.board = board;
    byId("answers").classList.toggle("none", !board);
    byId("question").textContent = board ? index.suites.find(({ name }) => name === board.suite).description : "";
    if (!board) {
      byId("answer").replaceChildren(make("li", {}, boards.length ? "Nothing fits all of these filters." : "No finished result: there is nothing to compare."));
      host.replaceChildren();
      for (const one of [legend, byId("plot-signs"), readout]) one.replaceChildren();
      panels.choose(null);
      return;
    }
    const { axes, metrics } = board.plot;
    if (fresh) [plotted.x, plotted.y] = [fewDensities(board) ? BY_METHOD : axes[0].key, 0];
    renew(across, [...axes.map(({ key, name }) => [key, name]), [BY_METHOD, "a line for each row"]], plotted.x);
    across.title = (axes.find(({ key }) => key === plotted.x) || { help: "" }).help;
    renew(up, metrics.map(({ label }, at) => [at, label]), plotted.y);
    if (fresh) for (const follow of boardFollowers) follow();
    byId("answer").replaceChildren(...board.answer.map((sentence) => make("li", {}, sentence)));
    byId("answer-part").hidden = board.shown.length === board.rows.length;
    if (fresh) {
      byId("answer").classList.add("brief");
      byId("answer-all").textContent = `All ${counted(board.answer.length, "sentence")}`;
      byId("answer-all").hidden = board.answer.length <= (narrow.matches ? 3 : BRIEF);
    }
    panels.choose(board);
    redraw();
  };
  const fill = () => {
    const some = boards.filter(fits);
    const kept = plotted.board && fits(plotted.board) ? plotted.board : some.length ? best(some) : null;
    renew(suite, [...new Set(some.map((board) => board.suite))].map((name) => [name, name]), kept?.suite);
    const own = some.filter((board) => board.suite === kept?.suite);
    renew(table, own.map((board) => [board.number, board.title]), kept?.number);
    show(kept, kept !== plotted.board);
  };
  suite.addEventListener("change", () => {
    const own = boards.filter((board) => fits(board) && board.suite === suite.value);
    plotted.board = best(own);
    fill();
    show(plotted.board);
  });
  table.addEventListener("change", () => show(boards[Number(table.value)]));
  across.addEventListener("change", () => { plotted.x = across.value; show(plotted.board, false); });
  up.addEventListener("change", () => { plotted.y = Number(up.value); show(plotted.board, false); });
  byId("answer-all").addEventListener("click", () => {
    byId("answer").classList.remove("brief");
    byId("answer-all").hidden = true;
  });
  onFilter(fill);
  let width = host.clientWidth;
  new ResizeObserver(() => {
    if (host.clientWidth !== width) { width = host.clientWidth; redraw(); }
  }).observe(host);
};
