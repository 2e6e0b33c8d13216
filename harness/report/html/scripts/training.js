// Density of each connection over training, with a slider that can be dragged and played.

const FRAMES_PER_SECOND = 8;

const trainingPanel = (member, content) => {
  const total = make("p", { class: "total" });
  const bars = make("div", { class: "bars", role: "list", tabindex: "0", "aria-label": `Connections, seed ${member.seed}` });
  const parts = content.connections.map((name) => {
    const fill = make("span", { class: "fill" });
    const tick = make("span", { class: "tick", hidden: true });
    const value = make("span", { class: "value" });
    bars.append(make("span", { class: "name", title: name, role: "listitem" }, name),
      make("span", { class: "track", "aria-hidden": "true" }, fill, tick), value);
    return { fill, tick, value };
  });
  const title = member.cell === null ? `Seed ${member.seed}` : ["Seed ", recordLink(member.cell, String(member.seed))];
  const panel = make("article", { class: "panel" }, make("h4", {}, title), total, bars);
  // The last state at or before a time; seeds of a run have the same times unless one was cut.
  const show = ([phase, step]) => {
    let at = 0;
    while (at + 1 < content.times.length &&
      (content.times[at + 1][0] < phase || (content.times[at + 1][0] === phase && content.times[at + 1][1] <= step))) at += 1;
    let [kept, size] = [0, 0];
    parts.forEach(({ fill, tick, value }, i) => {
      const hard = content.hard[at][i];
      const soft = content.soft[at][i];
      kept += content.sizes ? hard * content.sizes[i] : hard;
      size += content.sizes ? content.sizes[i] : 1;
      fill.style.width = `${100 * hard}%`;
      tick.hidden = soft === null;
      if (soft !== null) tick.style.left = `${100 * soft}%`;
      value.textContent = steady(hard);
      value.title = soft === null ? "" : `soft ${steady(soft)}`;
    });
    total.textContent = `${content.sizes ? "all connections" : "mean over connections"} ${steady(size ? kept / size : 0)}`;
  };
  return { panel, show };
};

const drawTraining = (place, group, contents) => {
  const key = ([phase, step]) => `${phase} ${step}`;
  const times = [...new Map(contents.flatMap((content) => content.times).map((time) => [key(time), time])).values()];
  times.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const panels = group.members.map((member, at) => trainingPanel(member, contents[at]));
  const slider = make("input", { type: "range", id: "time", min: "0", max: String(times.length - 1), value: String(times.length - 1), step: "1" });
  const where = make("output", { for: "time" });
  const show = () => {
    const time = times[Number(slider.value)];
    const phases = contents[0].phases;
    const name = phases[time[0]] || "phase";
    where.textContent = `step ${time[1].toLocaleString("en")}, ${name}, phase ${time[0] + 1} of ${Math.max(phases.length, time[0] + 1)}`;
    slider.setAttribute("aria-valuetext", where.textContent);
    panels.forEach((panel) => panel.show(time));
  };
  let timer = null;
  const play = make("button", { type: "button", class: "main" }, "Play");
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  play.addEventListener("click", () => {
    if (timer !== null) return stop();
    if (Number(slider.value) === times.length - 1) slider.value = "0";
    show();
    play.textContent = "Pause";
    timer = setInterval(() => {
      if (!slider.isConnected) return stop();
      slider.value = String(Number(slider.value) + 1);
      show();
      if (Number(slider.value) === times.length - 1) stop();
    }, 1000 / FRAMES_PER_SECOND);
  });
  slider.addEventListener("input", () => { stop(); show(); });
  place.append(
    make("div", { class: "player" }, play, make("label", {}, make("span", { class: "hidden" }, "Time"), slider), where),
    make("div", { class: "panels" }, panels.map(({ panel }) => panel)),
  );
  show();
};

const showTraining = () =>
  chooser("training", "Networks", "None of these networks changed its masks while it trained, so there is nothing to play.", drawTraining);
