// Texts that networks wrote, side by side.

const drawSamples = (place, group, contents) => {
  const prompts = [...new Set(contents.flatMap((rows) => rows.map((row) => row.prompt)))];
  const seedsFound = [...new Set(group.members.map((member) => member.seed))];
  const prompt = make("select", { id: "samples-prompt" });
  prompts.forEach((text, at) => prompt.append(make("option", { value: String(at) }, text.slice(0, 80))));
  const seed = make("select", { id: "samples-seed" });
  options(seed, seedsFound.map(String));
  const texts = make("div");
  const show = () => {
    const wanted = prompts[Number(prompt.value)];
    const articles = group.members.flatMap((member, at) => {
      const row = contents[at].find((one) => one.prompt === wanted);
      if (String(member.seed) !== seed.value || !row) return [];
      const title = member.cell === null ? member.row : recordLink(member.cell, member.row);
      return [make("article", {}, make("h3", {}, swatch(member.method), title),
        make("span", { class: "meta" }, `density ${density(member.density)}`), make("p", {}, row.text))];
    });
    texts.replaceChildren(make("blockquote", { class: "prompt" }, wanted), make("div", { class: "texts" }, articles));
  };
  prompt.addEventListener("change", show);
  seed.addEventListener("change", show);
  place.append(make("div", { class: "choose" }, make("label", {}, "Prompt", prompt), make("label", {}, "Seed", seed)), texts);
  show();
};

const showSamples = () => chooser("samples", "Networks", "No benchmark of these suites kept texts.", drawSamples);
