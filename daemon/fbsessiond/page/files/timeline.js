// A session's time as lanes: its states, and for each handler its deliveries and what it asked for. Gaps are shaded.

import { clock, drawn, element, exact, keep, say, span } from "./elements.js";

const NARROW = 620;
const LABELS = 128;
const EDGE = 12;
const STATE_HEIGHT = 26;
const ROW_HEIGHT = 24;
const LANE_GAP = 14;
const AXIS_HEIGHT = 26;
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800];
const NAMED_STATES = ["Invited", "Chatting", "LeftChat", "Completed", "Revoked", "Vanished"];
const ENDED_WELL = ["confirmed", "observed", "unconfirmed", "captured"];
const STUCK = ["parked", "failed"];

/** Return the class that colours a state. */
export function classOf(state) {
  return NAMED_STATES.includes(state) ? `state-${state}` : "state-other";
}

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
    lane.top = y + (isNarrow ? 18 : 0);
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
    const label = drawn("text", { class: "lane", x: isNarrow ? left : 0, y: isNarrow ? lane.top - 6 : lane.top + 17 }, shortened(lane.name, isNarrow ? 40 : 17));
    label.append(drawn("title", {}, lane.name));
    svg.append(label);
    svg.append(...(lane.states ? stateBars(story, lane, bounds, scale) : handlerMarks(lane, bounds, scale)));
  }
  place.replaceChildren(svg);
}

/** Say what the marks mean, as far as they occur. */
export function explain(list, story) {
  const lanes = lanesOf(story).filter((lane) => !lane.states);
  const deliveries = lanes.flatMap((lane) => lane.deliveries);
  const followUps = lanes.flatMap((lane) => lane.followUps);
  const kinds = [
    [deliveries.some((one) => one.state === "delivered"), "delivery delivered", "delivered"],
    [deliveries.some((one) => ["waiting", "due", "running"].includes(one.state)), "delivery pending", "to be delivered; a clock runs up to its time"],
    [deliveries.some((one) => one.state === "dead"), "delivery dead", "given up"],
    [deliveries.some((one) => one.state === "withdrawn"), "delivery withdrawn", "withdrawn"],
    [followUps.some((one) => ENDED_WELL.includes(one.state)), "follow-up done", "follow-up took effect"],
    [followUps.some((one) => classOfFollowUp(one) === "follow-up pending"), "follow-up pending", "follow-up on its way"],
    [followUps.some((one) => STUCK.includes(one.state)), "follow-up stuck", "follow-up failed, or parked for a person"],
    [followUps.some((one) => one.state === "withdrawn"), "follow-up withdrawn", "follow-up withdrawn"],
    [story.gaps.length > 0, "gap", "a gap: notifications may be missing"],
    [story.entries.some((one) => one.origin === "snapshot"), "found", "found by a snapshot, not notified"],
  ].filter(([occurs]) => occurs);
  keep(list, kinds, ([, kind]) => kind, ([, kind, words]) => element("li", {}, sample(kind), words), () => {});
}

function sample(kind) {
  const svg = drawn("svg", { width: 18, height: 18, viewBox: "0 0 18 18", "aria-hidden": "true" });
  if (kind === "gap") {
    svg.append(hatching("sample-hatching"), drawn("rect", { class: "gap-ground", x: 1, y: 1, width: 16, height: 16 }), drawn("rect", { x: 1, y: 1, width: 16, height: 16, fill: "url(#sample-hatching)" }));
  } else if (kind === "found") {
    svg.append(drawn("rect", { class: "bar state-other snapshot", x: 1, y: 4, width: 16, height: 10, rx: 3 }));
  } else {
    svg.append(mark(kind, 9, 9));
  }
  return svg;
}

function boundsOf(story) {
  const now = Date.parse(story.now);
  const isOpen = story.is_open;
  const times = story.entries.flatMap((entry) => [entry.at, ...entry.deliveries.flatMap((one) => [isPending(one) ? null : one.at, ...one.follow_ups.map((each) => each.at)])]);
  const known = times.filter(Boolean).map((at) => Date.parse(at));
  const from = Math.min(...known, now);
  let to = Math.max(...known, from + 1000, isOpen ? now : 0);
  const elapsed = to - from;
  const due = story.entries.flatMap((entry) => entry.deliveries.filter(isPending).map((one) => Date.parse(one.at))).filter((at) => at > to);
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
  const marks = [];
  let last = -Infinity;
  for (const one of lane.deliveries) {
    const begin = scale(Date.parse(one.entry.at));
    const isLater = isPending(one) && Date.parse(one.at) > bounds.now;
    const end = Math.max(scale(Date.parse(one.at)), begin);
    parts.push(drawn("line", { class: isLater ? "reach clock" : "reach", x1: begin, x2: end, y1: y, y2: y }));
    last = Math.max(end, last + 9);
    marks.push(titled(mark(`delivery ${isPending(one) ? "pending" : one.state}`, last, y), deliveryWords(one)));
  }
  last = -Infinity;
  const below = y + ROW_HEIGHT;
  for (const one of lane.followUps) {
    const x = Math.max(scale(Date.parse(one.at)), last + 15);
    last = x;
    marks.push(titled(mark(classOfFollowUp(one), x, below), followUpWords(one)));
  }
  return [...parts, ...marks];
}

/** Return a mark that can be told from the others by its shape, too, not by its colour alone. */
function mark(kind, x, y) {
  const group = drawn("g", { class: `mark ${kind}`, transform: `translate(${x} ${y})` });
  if (kind.startsWith("delivery")) {
    group.append(drawn("circle", { r: 6.5 }));
  } else {
    group.append(drawn("path", { d: "M0 -8 8 0 0 8 -8 0Z" }));
  }
  const inside = { delivered: "M-3 0 -1 2.5 3 -2.5", done: "M-3 0 -1 2.5 3 -2.5", dead: "M-2.5 -2.5 2.5 2.5M2.5 -2.5 -2.5 2.5", stuck: "M0 -4V1M0 3.4V3.6", withdrawn: "M-3 0H3" }[kind.split(" ")[1]];
  if (inside) {
    group.append(drawn("path", { class: "inside", d: inside }));
  }
  return group;
}

function titled(node, words) {
  node.append(drawn("title", {}, words));
  return node;
}

function classOfFollowUp(one) {
  if (ENDED_WELL.includes(one.state)) {
    return "follow-up done";
  }
  if (STUCK.includes(one.state)) {
    return "follow-up stuck";
  }
  return one.state === "withdrawn" ? "follow-up withdrawn" : "follow-up pending";
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

function hatching(id = "hatching") {
  return drawn("defs", {}, drawn("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, drawn("line", { class: "hatch", x1: 0, x2: 0, y1: 0, y2: 6 })));
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

function isPending(delivery) {
  return ["waiting", "due", "running"].includes(delivery.state);
}

/** Say what became of a delivery. */
export function deliveryWords(one) {
  const attempts = one.attempts > 1 ? `, ${one.attempts} attempts` : "";
  const when = isPending(one) && one.at ? `, due ${exact(one.at)}` : "";
  return `${one.handler}: ${one.state.replace("_", " ")}${when}${attempts}${one.because ? ` (${one.because})` : ""}`;
}

/** Say what became of a follow-up. */
export function followUpWords(one) {
  const attempts = one.attempts > 1 ? `, ${one.attempts} attempts` : "";
  return `${one.operation}: ${one.state}${attempts}${one.because ? ` (${one.because})` : ""}`;
}

function inWords(story) {
  const changes = story.entries.filter((entry) => entry.kind === "transition").map((entry) => `${entry.after} at ${clock(new Date(entry.at))}`);
  const gaps = story.gaps.length ? `; with ${story.gaps.length} gaps` : "";
  return `Timeline of session ${story.session}: ${changes.join(", ")}${gaps}. The list below has every entry.`;
}

function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Write the same as a list. */
export function tell(list, story) {
  keep(list, story.entries, (entry) => entry.seq, () => element("li", {}, element("p"), element("ul")), (item, entry) => {
    const [line, below] = item.children;
    const what = entry.kind === "transition" ? `${entry.before ?? "first seen"} → ${entry.after}` : entry.kind;
    say(line, `${exact(entry.at)}  ${what}${entry.origin === "live" ? "" : ` (${entry.origin})`}`);
    const lines = entry.deliveries.flatMap((one) => [[one.handler, deliveryWords(one), ""], ...one.follow_ups.map((each) => [`${one.handler}/${each.step}`, followUpWords(each), "deeper"])]);
    below.hidden = lines.length === 0;
    keep(below, lines, ([key]) => key, () => element("li"), (child, [, words, name]) => {
      child.className = name;
      say(child, words);
    });
  });
}
