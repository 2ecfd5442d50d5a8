// Figures and small elements as people read them. Texts of the data become text, never markup.

function counted(number) {
  if (typeof number !== "number") return number === null || number === undefined ? "?" : String(number);
  const size = Math.abs(number);
  for (const [limit, suffix] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "K"],
  ]) {
    if (size >= limit) return trimmed(number / (suffix === "K" ? 1e3 : limit)) + suffix;
  }
  return whole(number);
}

function inBytes(number) {
  if (typeof number !== "number") return counted(number);
  const size = Math.abs(number);
  for (const [limit, suffix] of [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ]) {
    if (size >= limit) return `${trimmed(number / limit)} ${suffix}`;
  }
  return `${whole(number)} B`;
}

function trimmed(number) {
  return Number(number.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 3, useGrouping: false });
}

function whole(number) {
  return typeof number === "number" ? number.toLocaleString("en-US", { maximumFractionDigits: 0 }) : counted(number);
}

function inSeconds(seconds) {
  if (seconds >= 1) return `${trimmed(seconds)} s`;
  return seconds >= 1e-3 ? `${trimmed(seconds * 1e3)} ms` : `${trimmed(seconds * 1e6)} µs`;
}

function percent(share) {
  if (!Number.isFinite(share)) return "–";
  if (!share) return "0%";
  return `${(share * 100).toFixed(Math.abs(share) < 0.0995 ? 1 : 0)}%`;
}

// "−376M", "+12", "" where nothing changed.
function delta(was, now, words = counted) {
  if (typeof was !== "number" || typeof now !== "number" || was === now) return "";
  return (now > was ? "+" : "\u2212") + words(Math.abs(now - was));
}

function plural(number, word) {
  return `${whole(number)} ${word}${number === 1 ? "" : word.endsWith("s") ? "es" : "s"}`;
}

// An element with attributes; `on...` are listeners, texts and elements its children. Empty ones are left out.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

// A name in the type of code, on its own whatever its script's direction is.
function code(text, className = "") {
  return el("bdi", { class: `code ${className}`.trim() }, text);
}

// Round steps of a unit that is a power of 1,024.
function byteTicks(scale, count) {
  const [, most] = d3.extent(scale.domain());
  const unit = 1024 ** Math.max(Math.floor(Math.log(Math.max(most, 1)) / Math.log(1024)), 0);
  return d3.ticks(0, most / unit, count).map((tick) => tick * unit);
}

// Long names lose their middle: both ends tell more.
function shortened(text, most) {
  if (text.length <= most) return text;
  const end = Math.ceil((most - 1) * 0.6);
  return `${text.slice(0, most - 1 - end)}…${text.slice(text.length - end)}`;
}

// "64×112×112" of f32[N,64,112,112].
function shapeOf(type) {
  const inside = /\[(.*)\]$/.exec(type);
  if (!inside || !inside[1]) return "";
  const dims = splitDims(inside[1]);
  return (dims.length > 1 ? dims.slice(1) : dims).join("×");
}

function splitDims(text) {
  const found = [];
  let depth = 0,
    start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") depth += 1;
    else if (text[i] === ")") depth -= 1;
    else if (text[i] === "," && !depth) {
      found.push(text.slice(start, i));
      start = i + 1;
    }
  }
  return [...found, text.slice(start)];
}

function say(text) {
  document.getElementById("said").textContent = text;
}
