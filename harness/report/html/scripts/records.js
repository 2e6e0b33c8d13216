// Each result, readable and as it is on disk; #cell=SUITE/NAME leads to it, #cell=A&against=B to what differs.

const TOGETHER = 64;
const unpacked = new Map();
const recordName = (number) => index.records[number].slice(0, 2).join("/");
const recordHash = (number, against) => `#cell=${encodeURIComponent(recordName(number))}` +
  (against === undefined ? "" : `&against=${encodeURIComponent(recordName(against))}`);
const recordLink = (number, text, label) => make("a", { href: recordHash(number), "aria-label": label }, text);

// [its text, its sections or null]
const readRecord = async (number) => {
  const chunk = Math.floor(number / TOGETHER);
  if (!unpacked.has(chunk)) unpacked.set(chunk, unpack(`records-${chunk}`));
  return (await unpacked.get(chunk))[number % TOGETHER];
};

const record = byId("record");
let [shownRecord, firstRecord] = [null, null];

const openRecord = (title, ...parts) => {
  byId("record-title").replaceChildren(...breakable(title));
  byId("record-body").replaceChildren(...parts.flat());
  if (!record.open) record.showModal();
  record.scrollTop = 0;
};

const sectionOf = ([title, facts, columns, rows]) => make("section", {}, title && make("h3", {}, title),
  make("dl", { class: "facts" }, facts.map(([name, text]) => [name ? make("dt", {}, breakable(name)) : make("dt"), make("dd", {}, text)])),
  rows.length ? make("details", {}, make("summary", {}, counted(rows.length, columns[0])),
    plainTable({ title: columns[0], columns: columns.map((name, at) => [name, at > 0]), rows })) : null);

const showRecord = async (number) => {
  const [text, sections] = await readRecord(number);
  shownRecord = number;
  byId("record-compare").hidden = false;
  openRecord(index.records[number][1],
    make("p", { class: "soft" }, "In the folder of results: ", make("code", { id: "record-file" }, index.records[number][2])),
    make("div", { class: "sections", id: "record-view" }, sections ? sections.map(sectionOf) : make("p", {}, "This file is no record that can be read; as it is:")),
    make("details", { open: !sections }, make("summary", {}, "The file as it is (JSON)"),
      make("pre", { id: "record-text", tabindex: "0", "aria-label": "The record as JSON" }, text)));
};

const followHash = () => {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (!asked.has("cell")) {
    record.close();
    return;
  }
  const find = (wanted) => index.records.findIndex((name) => name.slice(0, 2).join("/") === wanted);
  const number = find(asked.get("cell"));
  const other = asked.has("against") ? find(asked.get("against")) : null;
  if (number < 0 || other === -1) failed("the address names a result that this page does not have");
  else if (other !== null) showDifference(number, other).catch(failed);
  else if (firstRecord !== null && firstRecord !== number) location.replace(recordHash(firstRecord, number));
  else showRecord(number).catch(failed);
};

const wait = (number) => {
  firstRecord = number;
  byId("second").hidden = number === null;
  if (number !== null) byId("second-text").textContent = `Open a second result to see in what it differs from ${recordName(number)}.`;
};
record.addEventListener("close", () => {
  if (location.hash.startsWith("#cell=")) history.replaceState(null, "", "#");
});
byId("record-close").addEventListener("click", () => record.close());
byId("record-compare").addEventListener("click", () => { wait(shownRecord); record.close(); });
byId("second-cancel").addEventListener("click", () => wait(null));
window.addEventListener("hashchange", followHash);
