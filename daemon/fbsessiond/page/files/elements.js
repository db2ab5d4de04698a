// Making and keeping elements. What comes from outside becomes text nodes and attributes' values, never markup.

const SHORT_REASON = 160; // characters of a reason that are shown at once
const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Return an element; an attribute that is null or false is left out, and children that are null too. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Return an element of a drawing. */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set an element's text, if it isn't that already: a reader of the screen isn't disturbed. */
export function say(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** Have a parent hold one element for each item, in their order; what stays keeps its element, and the focus in it. */
export function keep(parent, items, keyOf, make, fill) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const key = String(keyOf(item));
    const child = before.get(key) ?? make(item);
    child.dataset.key = key;
    before.delete(key);
    fill(child, item);
    return child;
  });
  for (const child of before.values()) {
    child.remove();
  }
  wanted.forEach((child, index) => {
    if (parent.children[index] !== child) {
      parent.insertBefore(child, parent.children[index] ?? null);
    }
  });
}

/** Return a place for a reason, which may be long. */
export function makeReason() {
  return element("div", { class: "reason" }, element("p"), element("details", {}, element("summary", {}, "All of it"), element("p")));
}

/** Show a reason, of a long one the beginning until somebody wants all of it; nothing where there is none. */
export function fillReason(place, words) {
  const isLong = words !== null && words.length > SHORT_REASON;
  place.hidden = !words;
  say(place.firstChild, isLong ? `${words.slice(0, SHORT_REASON)}…` : (words ?? ""));
  place.lastChild.hidden = !isLong;
  say(place.lastChild.lastChild, isLong ? words : "");
}

/** Return a time of day that is told as how long ago it was, or how soon it comes; `tick` keeps it right. */
export function ago(at, before = "", after = "") {
  const node = element("time", { datetime: at, title: exact(at), "data-before": before, "data-after": after });
  return node;
}

/** Set the time of an element that `ago` made. */
export function setTime(node, at) {
  if (node.dateTime !== at) {
    node.dateTime = at;
    node.title = exact(at);
  }
}

/** Say all times anew, by the daemon's clock. */
export function tick(now) {
  for (const node of document.querySelectorAll("time[data-before]")) {
    const seconds = Math.abs(now - Date.parse(node.dateTime)) / 1000;
    say(node, `${node.dataset.before}${span(Math.max(1, Math.floor(seconds)))}${node.dataset.after}`);
  }
}

/** Return a span of time in its two largest units. */
export function span(seconds) {
  if (seconds < 0.9995) {
    return `${Math.round(seconds * 1000)} ms`;
  }
  if (seconds < 10) {
    return `${Number(seconds.toFixed(1))} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${whole} s`;
  }
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600), Math.floor(whole / 60)];
  if (hours < 1) {
    return `${minutes} min ${whole % 60} s`;
  }
  return days < 1 ? `${hours} h ${minutes % 60} min` : `${days} d ${hours % 24} h`;
}

/** Return a point in time in full, as this machine has it. */
export function exact(at) {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? "" : `${time.toLocaleDateString("en-CA")} ${clock(time, true)}`;
}

/** Return a time of day. */
export function clock(time, withMilliseconds = false) {
  const text = time.toLocaleTimeString("en-GB");
  return withMilliseconds ? `${text}.${String(time.getMilliseconds()).padStart(3, "0")}` : text;
}

/** Return "1 letter", "2 letters". */
export function count(number, one, several = `${one}s`) {
  return `${number.toLocaleString("en-GB")} ${number === 1 ? one : several}`;
}
