// Each cell's record, unpacked when it is asked for; #cell=SUITE/NAME leads to it.

const TOGETHER = 64;
const unpacked = new Map();
const recordName = (number) => index.records[number].join("/");
const recordLink = (number, text, label) =>
  make("a", { href: `#cell=${encodeURIComponent(recordName(number))}`, "aria-label": label }, text);

const recordText = async (number) => {
  const chunk = Math.floor(number / TOGETHER);
  if (!unpacked.has(chunk)) unpacked.set(chunk, unpack(`records-${chunk}`));
  return (await unpacked.get(chunk))[number % TOGETHER];
};

const record = byId("record");
const showRecord = async (number) => {
  byId("record-title").textContent = index.records[number][1];
  byId("record-facts").textContent = `results/${index.records[number][0]}/cells/${index.records[number][1]}.json, as it is`;
  byId("record-text").textContent = "";
  if (!record.open) record.showModal();
  byId("record-text").textContent = await recordText(number);
};

const followHash = () => {
  if (!location.hash.startsWith("#cell=")) {
    record.close();
    return;
  }
  let wanted;
  try {
    wanted = decodeURIComponent(location.hash.slice("#cell=".length));
  } catch {
    wanted = null;
  }
  const number = index.records.findIndex((name) => name.join("/") === wanted);
  if (number >= 0) showRecord(number).catch(failed);
  else failed("the address names a cell that this page does not have");
};

record.addEventListener("close", () => {
  if (location.hash.startsWith("#cell=")) history.replaceState(null, "", "#");
});
byId("record-close").addEventListener("click", () => record.close());
window.addEventListener("hashchange", followHash);
