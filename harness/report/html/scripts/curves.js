// Curves over training: the loss, and scores on validation data beside it; a line for each row, over its seeds.

const MOST_BANDS = 12;

const drawCurves = (panel, width, title) => {
  const lines = panel.shown;
  const bands = lines.length <= MOST_BANDS;
  const values = lines.flatMap(({ parts }) => parts.flatMap(([points, band]) =>
    [...points.map(([, value]) => value), ...(bands ? band.flatMap(([, low, high]) => [low, high]) : [])]));
  const steps = lines.flatMap(({ parts }) => parts.flatMap(([points]) => points.map(([step]) => step)));
  const most = Math.max(...steps) || 1;
  const x = scale(0, most * 1.02, (value) => value, roundMarks(0, most, Math.max(3, Math.floor(width / 110))));
  const y = wide(values, 20) ? logScale(values) : linearScale(values);
  const { svg, px, py } = frame({ width, height: Math.max(240, Math.min(420, width * 0.62)), x, y, xName: "optimizer step, counted over all phases", yName: panel.what, title: `${panel.what}, ${title}` });
  const dash = dashes(panel.lines.map(({ method }) => method));
  for (const line of lines) {
    const node = group(svg, line.method);
    node.append(draw("title", {}, `${line.row}, ${counted(line.seeds, "seed")}`));
    for (const [points, band] of line.parts) {
      if (bands && band.length > 1) {
        node.append(draw("path", { class: "band", d: `${path([...band.map(([step, , high]) => [px(step), py(high)]), ...[...band].reverse().map(([step, low]) => [px(step), py(low)])])}z` }));
      }
      const spots = points.map(([step, value]) => [px(step), py(value)]);
      node.append(draw("path", { class: "line", "stroke-dasharray": dash.get(line.method), d: path(spots.length > 1 ? spots : [[spots[0][0] - 2, spots[0][1]], [spots[0][0] + 2, spots[0][1]]]) }));
      if (spots.length <= 25) node.append(...spots.map(([left, top]) => draw("circle", { class: "dot", cx: left.toFixed(1), cy: top.toFixed(1), r: 2 })));
    }
  }
  return svg;
};

const showCurves = () => {
  const body = byId("curves-body");
  if (!index.curves.length) {
    body.append(make("p", { class: "intro" }, "No curves were kept with these results."));
    return;
  }
  const place = make("div", { class: "curves" });
  const names = make("ul", { class: "legend" });
  const more = make("div", { class: "figures" });
  const note = make("p", { class: "intro" });
  let [panels, shown, turn, width] = [[], null, 0, 0];
  const redraw = () => {
    if (!place.clientWidth) return;
    width = place.clientWidth;
    const drawable = panels.map((panel) => ({ ...panel, shown: fitting({ ...shown, members: panel.lines }) })).filter((panel) => panel.shown.length);
    const each = width >= 720 && drawable.length > 1 ? (width - 32) / 2 : width;
    place.replaceChildren(...drawable.map((panel) => make("figure", {}, make("figcaption", {}, panel.what), drawCurves(panel, each, shown.title))));
    const methods = [...new Map(drawable.flatMap((panel) => panel.shown).map((line) => [line.row, line.method])).entries()];
    names.replaceChildren(...methods.map(([name, method]) => make("li", {
      pointerenter: () => place.querySelectorAll("svg").forEach((svg) => light(svg, method)),
      pointerleave: () => place.querySelectorAll("svg").forEach((svg) => light(svg, null)) }, swatch(method), make("span", {}, name))));
    const bands = drawable.some((panel) => panel.shown.length <= MOST_BANDS && panel.shown.some(({ seeds }) => seeds > 1));
    note.textContent = drawable.length ? `Lines: mean over seeds.${bands ? " Bands: from the lowest to the highest seed." : ""} ` +
      "Validation data is what choices are made by; the tables show test data, which no choice sees." : "";
  };
  const choices = index.curves.map((one, at) => ({ ...one, at }));
  const show = async (group) => {
    const mine = ++turn;
    const found = group ? await unpack(`curves-${group.at}`) : [];
    if (mine !== turn) return;
    [panels, shown] = [found, group];
    redraw();
    more.replaceChildren(...(group ? group.figures : []).map(({ number, caption }) =>
      figure(number, caption + (filters.methods.size || filters.low > -Infinity || filters.high < Infinity ? " (all rows: this figure is not filtered)" : ""))));
  };
  choose(body, "curves-run", "Networks", choices, (group) => show(group).catch(failed));
  body.append(note, names, place, more);
  new ResizeObserver(() => { if (place.clientWidth !== width) redraw(); }).observe(place);
};
