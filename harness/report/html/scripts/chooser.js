// A section that shows one run at a time.

// `draw` gets the chosen group; suites with results but nothing for this section are told what to do by `empty`.
const chooser = (name, label, empty, draw) => {
  const body = byId(`${name}-body`);
  const { groups, notes } = index.sections[name];
  if (!groups.length) {
    body.append(make("p", { class: "intro" }, empty));
    body.append(...notes.map((note) => make("p", { class: "intro" }, note)));
    return;
  }
  const place = make("div");
  const select = make("select", { id: `${name}-run` });
  groups.forEach((group, at) => select.append(make("option", { value: String(at) }, group.title)));
  body.append(make("div", { class: "choose" }, make("label", {}, label, select)), place);
  body.append(...notes.map((note) => make("p", { class: "note-warning" }, note)));
  let turn = 0;
  const show = async () => {
    const mine = ++turn;
    const group = groups[Number(select.value)];
    const contents = await Promise.all(group.members.map((member) => unpack(`${name}-${member.chunk}`)));
    if (mine !== turn) return; // another run was chosen meanwhile
    place.replaceChildren();
    draw(place, group, contents);
  };
  select.addEventListener("change", () => show().catch(failed));
  show().catch(failed);
};
