// A session's time as lanes: its states, and for each handler its deliveries and what it asked for. Gaps are shaded.

import { clock, drawn, exact, span } from "./elements.js";
import { classOf, deliveryTold, followUpTold, hatching, isPending, kindOfDelivery, kindOfFollowUp, mark } from "./marks.js";

const NARROW = 620;
const LABELS = 128;
const EDGE = 12;
const STATE_HEIGHT = 26;
const ROW_HEIGHT = 24;
const LANE_GAP = 14;
const AXIS_HEIGHT = 26;
const APART = 17; // what is nearer to each other is one mark, with how many it stands for
const WORST = ["dead", "stuck", "pending", "withdrawn"]; // which of them is shown then
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800];

/** Draw a session's timeline into a place, as wide as that is. */
export function draw(place, story) {
  const width = Math.max(280, Math.floor(place.clientWidth));
  const isNarrow = width < NARROW;
  const bounds = boundsOf(story);
  const left = isNarrow ? EDGE : LABELS;
  const scale = (at) => left + ((Math.min(Math.max(at, bounds.from), bounds.to) - bounds.from) / (bounds.to - bounds.from)) * (width - left - EDGE);
  const lanes = lanesOf(story);
  let y = 6;
  for (const lane of lanes) {
    lane.top = y + (isNarrow ? 23 : 0);
    lane.height = lane.states ? STATE_HEIGHT : ROW_HEIGHT * (lane.followUps.length ? 2 : 1);
    y = lane.top + lane.height + LANE_GAP;
  }
  const bottom = y - LANE_GAP + 6;
  const svg = drawn("svg", { role: "img", "aria-label": inWords(story), width, height: bottom + AXIS_HEIGHT, viewBox: `0 0 ${width} ${bottom + AXIS_HEIGHT}` });
  svg.append(hatching());
  for (const gap of story.gaps) {
    svg.append(...gapShade(gap, bounds, scale, bottom, story.now));
  }
  svg.append(...axis(bounds, scale, bottom, width - left - EDGE));
  if (bounds.isOpen) {
    svg.append(drawn("line", { class: "now", x1: scale(bounds.now), x2: scale(bounds.now), y1: 0, y2: bottom }));
  }
  for (const lane of lanes) {
    const label = drawn("text", { class: "lane", x: isNarrow ? left : 0, y: isNarrow ? lane.top - 10 : lane.top + 17 }, shortened(lane.name, isNarrow ? 40 : 17));
    label.append(drawn("title", {}, lane.name));
    svg.append(label);
    svg.append(...(lane.states ? stateBars(story, lane, bounds, scale) : handlerMarks(lane, bounds, scale)));
  }
  place.replaceChildren(svg);
}

function boundsOf(story) {
  const now = Date.parse(story.now);
  const isOpen = story.is_open;
  const times = story.entries.flatMap((entry) => [entry.at, ...entry.deliveries.flatMap((one) => [isPending(one) ? null : one.at, ...one.follow_ups.map((each) => each.at)])]);
  const known = times.filter(Boolean).map((at) => Date.parse(at));
  const from = Math.min(...known, now);
  let to = Math.max(...known, from + 1000, isOpen ? now : 0);
  const elapsed = to - from;
  const due = story.entries.flatMap((entry) => entry.deliveries.filter(isToCome).map((one) => Date.parse(one.at))).filter((at) => at > to);
  if (due.length) {
    to = Math.min(Math.max(...due), to + elapsed * 0.6 + 5000);
  }
  return { from, to: to + (to - from) * 0.03, now, isOpen };
}

function lanesOf(story) {
  const byName = new Map();
  for (const entry of story.entries) {
    for (const delivery of entry.deliveries) {
      if (delivery.state === "not_wanted") {
        continue;
      }
      const lane = byName.get(delivery.handler) ?? { name: delivery.handler, deliveries: [], followUps: [] };
      byName.set(delivery.handler, lane);
      lane.deliveries.push({ ...delivery, entry });
      lane.followUps.push(...delivery.follow_ups.map((one) => ({ ...one, entry, handler: delivery.handler })));
    }
  }
  return [{ name: "State", states: true }, ...[...byName.values()].sort((one, other) => one.name.localeCompare(other.name))];
}

function stateBars(story, lane, bounds, scale) {
  const changes = story.entries.filter((entry) => entry.kind === "transition");
  const end = bounds.isOpen ? bounds.now : bounds.to;
  const bars = changes.flatMap((entry, index) => {
    const begin = scale(Date.parse(entry.at));
    const until = scale(index + 1 < changes.length ? Date.parse(changes[index + 1].at) : end);
    const width = Math.max(until - begin - 1, 3);
    const bar = drawn("rect", { class: `bar ${classOf(entry.after)}${entry.origin === "snapshot" ? " snapshot" : ""}`, x: begin, y: lane.top, width, height: STATE_HEIGHT, rx: 5 });
    const words = `${entry.after}, from ${exact(entry.at)}${entry.origin === "snapshot" ? ", found by a snapshot" : ""}`;
    bar.append(drawn("title", {}, words));
    const fits = width > entry.after.length * 7.4 + 12;
    return [bar, fits ? drawn("text", { class: `bar-text ${classOf(entry.after)}`, x: begin + 8, y: lane.top + 17.5 }, entry.after) : null].filter(Boolean);
  });
  const others = story.entries.filter((entry) => entry.kind !== "transition").map((entry) => {
    const dot = drawn("circle", { class: "other", cx: scale(Date.parse(entry.at)), cy: lane.top + STATE_HEIGHT + 6, r: 2.5 });
    dot.append(drawn("title", {}, `${entry.kind}, ${exact(entry.at)}`));
    return dot;
  });
  return [...bars, ...others];
}

function handlerMarks(lane, bounds, scale) {
  const y = lane.top + ROW_HEIGHT / 2;
  const parts = [drawn("line", { class: "rail", x1: scale(bounds.from), x2: scale(bounds.to), y1: y, y2: y })];
  const deliveries = lane.deliveries.map((one) => {
    const at = isPending(one) && !isToCome(one) ? bounds.now : Date.parse(one.at);
    const isLater = isToCome(one) && at > bounds.now;
    const [begin, end] = [scale(Date.parse(one.entry.at)), scale(at)];
    parts.push(drawn("line", { class: isLater ? "reach clock" : "reach", x1: begin, x2: Math.max(begin, end), y1: y, y2: y }));
    if (isLater) {
      parts.push(drawn("text", { class: "until", x: end - 12, y: y - 6 }, `due ${dueWords(one.at, bounds)}`));
    }
    return { x: Math.max(begin, end), kind: kindOfDelivery(one), words: `${one.handler}: ${withReason(deliveryTold(one), one)}` };
  });
  const followUps = lane.followUps.map((one) => ({ x: scale(Date.parse(one.at)), kind: kindOfFollowUp(one), words: withReason(followUpTold(one), one) }));
  return [...parts, ...together(deliveries).map((each) => drawnMark(each, y)), ...together(followUps).map((each) => drawnMark(each, y + ROW_HEIGHT))];
}

/** Put together what would lie upon each other. */
function together(marks) {
  const groups = [];
  for (const one of marks.toSorted((left, right) => left.x - right.x)) {
    const last = groups.at(-1);
    if (last && one.x - last.x < APART) {
      last.marks.push(one);
    } else {
      groups.push({ x: one.x, marks: [one] });
    }
  }
  return groups;
}

function drawnMark({ x, marks }, y) {
  const kinds = marks.map((one) => one.kind);
  const worst = WORST.map((word) => kinds.find((kind) => kind.endsWith(word))).find(Boolean) ?? kinds[0];
  const group = titled(mark(worst, x, y), marks.map((one) => one.words).join("\n"));
  if (marks.length > 1) {
    group.append(drawn("text", { class: "many", x: 0, y: -9 }, String(marks.length)));
  }
  return group;
}

function withReason(words, one) {
  return one.because ? `${words} (${one.because})` : words;
}

function isToCome(delivery) {
  return isPending(delivery) && delivery.state !== "running";
}

/** Return when something is due: with its day, if that is another one than now. */
function dueWords(at, bounds) {
  return new Date(at).toDateString() === new Date(bounds.now).toDateString() ? clock(new Date(at)) : exact(at).slice(0, -7);
}

function titled(node, words) {
  node.append(drawn("title", {}, words));
  return node;
}

function gapShade(gap, bounds, scale, bottom, now) {
  const [begin, end] = [Date.parse(gap.from), Date.parse(gap.to ?? now)];
  if (end < bounds.from || begin > bounds.to) {
    return [];
  }
  const x = scale(begin);
  const width = Math.max(scale(end) - x, 4);
  const words = `Gap: ${gap.cause}, from ${exact(gap.from)}, ${gap.to ? `lasted ${span((end - begin) / 1000)}` : "goes on"}`;
  const box = { x, y: 0, width, height: bottom };
  return [drawn("rect", { ...box, class: "gap-ground" }), titled(drawn("rect", { ...box, fill: "url(#hatching)" }), words)];
}

function axis(bounds, scale, bottom, width) {
  const seconds = (bounds.to - bounds.from) / 1000;
  const step = STEPS.find((each) => seconds / each <= width / 84) ?? STEPS.at(-1);
  const parts = [drawn("line", { class: "axis", x1: scale(bounds.from), x2: scale(bounds.to), y1: bottom, y2: bottom })];
  const offset = new Date(bounds.from).getTimezoneOffset() * 60000;
  const first = Math.ceil((bounds.from - offset) / 1000 / step) * step * 1000 + offset;
  for (let at = first; at <= bounds.to; at += step * 1000) {
    const x = scale(at);
    parts.push(drawn("line", { class: "grid", x1: x, x2: x, y1: 0, y2: bottom }));
    parts.push(drawn("text", { class: "tick", x: Math.min(Math.max(x, scale(bounds.from) + 22), scale(bounds.to) - 20), y: bottom + 17 }, tickWords(new Date(at), step)));
  }
  return parts;
}

function tickWords(time, step) {
  if (step >= 86400) {
    return time.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  }
  return step < 1 ? clock(time, true).slice(0, -2) : step < 60 ? clock(time) : clock(time).slice(0, 5);
}

function inWords(story) {
  const changes = story.entries.filter((entry) => entry.kind === "transition").map((entry) => `${entry.after} at ${clock(new Date(entry.at))}`);
  const gaps = story.gaps.length ? `; with ${story.gaps.length} gaps` : "";
  return `Timeline of session ${story.session}: ${changes.join(", ")}${gaps}. The list below has every entry.`;
}

function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
