// Scales: numbers to places in [0, 1], with round numbers to label them. As in harness/report/figures.

const finite = (values) => values.filter((value) => typeof value === "number" && Number.isFinite(value));

// One number in few characters: 0.0312, 1.2k, 3.4M.
const short = (value, digits = 3) => {
  const size = Math.abs(value);
  const [unit, suffix] = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([from]) => size >= from) || [1, ""];
  return String(Number((value / unit).toPrecision(digits))).replace("-", "\u2212") + suffix;
};

const scale = (low, high, bend, marks) => {
  const [from, to] = [bend(low), bend(high)];
  return {
    at: (value) => (bend(Math.min(Math.max(value, low), high)) - from) / (to - from),
    beyond: (value) => Math.min(Math.max((bend(value) - from) / (to - from), -9), 9), // lines go on where points cannot
    holds: (value) => value >= low && value <= high,
    marks: marks.filter(([value]) => value >= low && value <= high),
  };
};

const roundMarks = (low, high, count = 6) => {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at += 1) found.push(Number((at * step).toPrecision(12)));
  const largest = Math.max(...found.map(Math.abs), step);
  if (largest >= 1000) return found.map((value) => [value, value === 0 ? "0" : short(value)]);
  const decimals = Math.min(9, Math.max(0, -Math.floor(Math.log10(step) + 1e-9) + (String(Number((step / power).toPrecision(3))) === "2.5" ? 1 : 0)));
  return found.map((value) => [value, value.toFixed(decimals).replace("-", "\u2212")]);
};

const linearScale = (values, pad = 0.06) => {
  const [least, most] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  const room = most - least > 1e-9 * Math.max(Math.abs(least), Math.abs(most)) ? pad * (most - least) : Math.abs(most) * 0.05 || 1;
  return scale(least - room, most + room, (value) => value, roundMarks(least - room, most + room));
};

const logScale = (values, pad = 0.06) => {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = most / least > 1 + 1e-9 ? (most / least) ** pad : 2;
  const [low, high] = [least / room, most * room];
  const powers = [];
  for (let at = Math.floor(Math.log10(low)); at <= Math.log10(high); at += 1) powers.push(10 ** at);
  const inside = powers.filter((value) => value >= low);
  const stride = Math.ceil(inside.length / 7);
  const marks = inside.length > 2 ? inside.filter((value, at) => at % stride === 0)
    : powers.flatMap((power) => [1, 2, 5].map((times) => times * power));
  return scale(low, high, Math.log, marks.map((value) => [value, short(value)]));
};

// Shares on logits, on which they are compared.
const LEAST_SHARE = 1e-4; // nearer to 0 or 1 they are drawn there
const SHARES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4];
const drawnShare = (value) => Math.min(Math.max(value, LEAST_SHARE), 1 - LEAST_SHARE);
const bentShare = (value) => Math.log(value / (1 - value));
const logit = (value) => bentShare(drawnShare(value));
const shareScale = (values, pad = 0.06) => {
  const ends = values.map(logit);
  const [least, most] = [Math.min(...ends), Math.max(...ends)];
  const room = most - least > 1e-9 ? pad * (most - least) : 0.05 * Math.abs(most) || 1;
  const [low, high] = [least - room, most + room].map((end) => 1 / (1 + Math.exp(-end)));
  const marks = [...SHARES, 0.5, ...SHARES.map((value) => 1 - value).reverse()].filter((value) => value >= low && value <= high);
  const found = scale(low, high, bentShare, marks.length > 2 ? marks.map((value) => [value, short(value)]) : roundMarks(low, high));
  return { ...found, holds: (value) => found.holds(drawnShare(value)) };
};

const wide = (values, ratio) => values.length > 0 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) >= ratio;
const costScale = (values) => (wide(values, 4) ? logScale(values) : linearScale(values));

// Densities fall from left to right, by halvings where they are small; 0 has a place of its own. `named`: those of
// them that have a mark, where there is room.
const densityScale = (values, named) => {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const levels = [];
  for (const value of [...(named.length ? named : values)].sort((a, b) => b - a)) {
    const last = levels[levels.length - 1];
    if (last && value >= last[0] * 0.95) last.push(value);
    else levels.push([value]);
  }
  const halve = least < 0.3 && least < 0.95 * most;
  const positive = values.filter((value) => value > 0);
  const deepest = positive.length ? -Math.log2(Math.min(...positive)) : 0;
  const first = positive.length ? -Math.log2(Math.max(...positive)) : 0;
  const zero = deepest + 0.16 * (deepest - first || 1);
  const bend = (value) => (halve ? (value > 0 ? -Math.log2(value) : zero) : -value);
  const [from, to] = [bend(most), bend(least)];
  const room = to > from ? 0.06 * (to - from) : 0.5;
  const at = (value) => (bend(value) - from + room) / (to - from + 2 * room);
  const usual = Math.max(...levels.map((level) => level.length));
  const often = (level) => level.reduce((a, b) => (level.filter((one) => one === b).length > level.filter((one) => one === a).length ? b : a));
  const all = levels.map(often);
  const chosen = levels.filter((level) => 2 * level.length >= usual).map(often);
  const apart = (values) => values.every((value, i) => i === 0 || at(value) - at(values[i - 1]) >= 0.07);
  let marks = apart(all) ? all : apart(chosen) && chosen.length > 1 ? chosen : [];
  if (!marks.length && halve) {
    const stride = Math.ceil((deepest - Math.floor(first)) / 8) || 1;
    for (let k = Math.ceil(first - 1e-9); k <= deepest + 1e-9; k += stride) marks.push(0.5 ** k);
    if (least <= 0) marks.push(0);
  }
  if (!marks.length) marks = roundMarks(least, most).map(([value]) => value);
  return { at, holds: () => true, marks: marks.map((value) => [value, short(value)]) };
};

// Of a metric: far worse rows and wide intervals do not squeeze the others; what is off the scale is drawn at its end.
const metricScale = (means, ends, direction, share) => {
  if (!means.length) return share ? shareScale(ends) : linearScale(ends);
  const log = !share && direction === "min" && wide(means, 20);
  const bent = share ? logit : log ? Math.log : (value) => value;
  const ordered = means.map(bent).sort((a, b) => (direction === "min" ? a - b : b - a));
  const usual = Math.abs(ordered[Math.floor(ordered.length / 2)] - ordered[0]);
  const far = direction !== "none" && Math.abs(ordered.at(-1) - ordered[0]) > 8 * usual;
  const near = means.filter((value) => !far || Math.abs(bent(value) - ordered[0]) <= 3 * usual);
  const shown = near.length > 1 ? near : means;
  const [least, most] = [Math.min(...shown.map(bent)), Math.max(...shown.map(bent))];
  const span = most - least || Infinity; // of one row, or equal ones, every seed is shown
  const all = [...shown, ...ends.filter((value) => (!log || value > 0) && bent(value) >= least - span && bent(value) <= most + span)];
  return share ? shareScale(all) : log ? logScale(all) : linearScale(all);
};
