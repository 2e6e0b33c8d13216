// A section that shows one group at a time, of those that the filters let through; first one of the networks that the
// plot shows.

// `choices` are groups with a title; `chosen` gets one of them, or null where none fits.
const choose = (body, id, label, choices, chosen) => {
  const select = make("select", { id });
  const none = make("p", { class: "intro" }, "Nothing here fits the filters.");
  const bar = make("div", { class: "choose" }, labelled(label, select));
  body.append(bar, none);
  select.addEventListener("change", () => chosen(choices[Number(select.value)]));
  boardFollowers.push(() => {
    const { suite, experiment, architecture } = plotted.board;
    const own = `${suite}: ${experiment ? `${experiment}, ` : ""}${architecture} on `;
    const at = choices.findIndex((group) => group.title.startsWith(own) && fitting(group).length);
    if (at < 0 || (choices[Number(select.value)] || { title: "" }).title.startsWith(own)) return;
    select.value = String(at);
    chosen(choices[at]);
  });
  onFilter(() => {
    const fit = choices.map((group, at) => [at, group]).filter(([, group]) => fitting(group).length);
    renew(select, fit.map(([at, group]) => [at, group.title]));
    bar.hidden = !fit.length;
    none.hidden = fit.length > 0;
    chosen(fit.length ? choices[Number(select.value)] : null);
  });
  if (plotted.board) boardFollowers.at(-1)();
};

// `draw` gets the chosen group, with the members that fit, and their data; `empty` says what to do where there is none.
const chooser = (name, label, empty, drawGroup) => {
  const body = byId(`${name}-body`);
  const { groups, notes } = index.sections[name];
  if (!groups.length) {
    body.append(make("p", { class: "intro" }, empty));
    body.append(...notes.map((note) => make("p", { class: "intro" }, note)));
    return;
  }
  const place = make("div");
  let turn = 0;
  let shown = "";
  const show = async (group) => {
    const members = group ? fitting(group) : [];
    const key = members.map((member) => member.chunk).join();
    if (key === shown) return;
    shown = key;
    const mine = ++turn;
    const contents = await Promise.all(members.map((member) => unpack(`${name}-${member.chunk}`)));
    if (mine !== turn) return; // another one was chosen meanwhile
    place.replaceChildren();
    if (group) drawGroup(place, { ...group, members }, contents);
  };
  choose(body, `${name}-run`, label, groups, (group) => show(group).catch(failed));
  body.append(place, ...notes.map((note) => make("p", { class: "note-warning" }, note)));
};
