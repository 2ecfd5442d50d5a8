// The slider over the passes, and of the pass it stands at what it did, what it declined, and which values changed most.

const FEW = 30; // entries of a list that are shown before one asks for all

function startPasses() {
  const slider = document.getElementById("slider");
  slider.max = String(stops.length - 1);
  document.querySelector(".slider").hidden = stops.length < 2;
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  document
    .getElementById("ticks")
    .replaceChildren(
      ...stops.map((stop) =>
        el("span", { class: stop.step ? (stop.step.rewrites.length ? "did" : "declined") : "all", title: stopName(stop), onclick: () => goTo(stop.number) }),
      ),
    );
  const last = stops[stops.length - 1];
  document.getElementById("ends").replaceChildren(
    el("span", {}, stops[0].step ? `start: ${stopName(stops[0])}` : "from start to end"),
    el("span", {}, last.step ? `end: ${last.step.pass}` : ""),
  );
  slider.title = stops.map(stopName).join(", ");
  showStops();
}

function goTo(number) {
  const stop = stops[Math.min(Math.max(number, 0), stops.length - 1)];
  if (stop === view.stop) return;
  showStop(stop);
  showStops();
  flyToChange();
  say(stop.step ? `${stop.step.pass}: ${stop.step.does}` : "all passes together");
}

function stopName(stop) {
  return stop.step ? stop.step.pass : report.steps.length ? "All passes, from start to end" : "As it came";
}

function showStops() {
  const slider = document.getElementById("slider");
  slider.value = String(view.stop.number);
  slider.setAttribute("aria-valuetext", view.stop.step ? view.stop.step.pass : "all passes");
  const list = document.getElementById("stops");
  list.replaceChildren(...stops.map(stopEntry), idleEntry());
  const current = list.querySelector(".current");
  if (current) current.scrollIntoView({ block: "nearest" });
}

function stopEntry(stop) {
  const isCurrent = stop === view.stop;
  const title = stop.step ? stop.step.pass : report.steps.length ? "All passes" : "As it came";
  const head = el(
    "button",
    { class: "stop", "aria-current": isCurrent ? "step" : null, onclick: () => goTo(stop.number) },
    el("span", { class: "name" }, title),
    !stop.step && report.steps.length ? el("span", { class: "range muted" }, "from start to end") : null,
    el("span", { class: "deltas" }, ...deltasOf(stop)),
  );
  return el("li", { class: isCurrent ? "current" : "" }, head, isCurrent ? stopDetails(stop) : null);
}

function deltasOf(stop) {
  const found = [];
  if (stop.step && stop.step.problem) found.push(el("span", { class: "gone" }, "rolled back"));
  if (stop.step && stop.step.rewrites.length) found.push(el("span", {}, plural(stop.step.rewrites.length, "rewrite")));
  if (stop.step && stop.step.declined.length) found.push(el("span", { class: "muted" }, `${stop.step.declined.length} declined`));
  const macs = stop.was && stop.now ? delta(stop.was.macs, stop.now.macs) : "";
  if (macs) found.push(el("span", { class: macs.startsWith("+") ? "worse" : "better" }, `${macs} MACs`));
  return found;
}

function stopDetails(stop) {
  const { step } = stop;
  const details = el("div", { class: "details" });
  if (step) {
    if (step.does) details.append(el("p", { class: "does" }, step.does));
    details.append(el("p", { class: "why" }, el("b", {}, "Why at this place: "), step.why));
    details.append(...checkOf(stop));
    if (step.problem) details.append(el("p", { class: "gone" }, `Rolled back: ${step.problem}`));
  }
  details.append(totalsTable(stop));
  if (!stop.number) details.append(...notesUnder("Notes", report.notes), ...notesUnder("Measured as this was made", report.measured.notes));
  const changed = mostChanged(stop);
  if (changed.length) details.append(section("Where multiply-adds changed", changed.map(placeEntry), 6));
  if (step && step.rewrites.length)
    details.append(
      section(
        `What it ${step.problem ? "tried" : "did"}`,
        step.rewrites.map((rewrite) => rewriteEntry(rewrite)),
      ),
    );
  if (step && step.declined.length)
    details.append(
      section(
        "What it declined",
        step.declined.map(([rule, root, why]) =>
          entry(root, [code(report.names[root]), el("span", { class: "reason" }, rule === step.pass ? why : `${rule}: ${why}`)]),
        ),
      ),
    );
  return details;
}

function notesUnder(title, notes) {
  const lines = notes.map((note) => el("li", {}, note));
  return notes.length ? [el("section", {}, el("h3", {}, title), el("ul", { class: "notes" }, lines))] : [];
}

// Whether its result is the same, and by how much.
function checkOf({ step, before, after }) {
  if (before === after) return [];
  const verdict = report.verdicts[step.pass];
  if (verdict) return [el("p", { class: "check better" }, `✓ ${verdict}`)];
  return report.unchecked ? [el("p", { class: "check muted" }, "Whether its result is the same is not checked here: ", code(report.unchecked))] : [];
}

function totalsTable({ was, now, before, after }) {
  if (!was || !now) return el("p", { class: "muted" }, "No totals: the graph has no types yet.");
  const computes = (graph) => graph.nodes.filter((node) => !node.isParam && node.kind !== "input").length;
  const rows = [
    ["Operators", computes(before), computes(after), whole],
    ["Multiply-adds", was.macs, now.macs, counted],
    ["Parameters", was.params, now.params, counted],
    ["Bytes moved", was.bytesMoved, now.bytesMoved, inBytes],
    ["Weights", was.weightBytes, now.weightBytes, inBytes],
    now.estimated === undefined ? null : [report.machine ? `Estimated time on ${report.machine}` : "Estimated time", was.estimated ?? now.estimated, now.estimated, inSeconds],
  ].filter(Boolean);
  return el(
    "table",
    { class: "totals" },
    el(
      "tbody",
      {},
      rows.map(([what, old, fresh, words]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, what),
          el("td", {}, old === fresh ? "" : words(old)),
          el("td", { class: "arrow" }, old === fresh ? "" : "→"),
          el("td", {}, words(fresh)),
          el("td", { class: fresh > old ? "worse" : "better" }, old && fresh !== old ? signedPercent(fresh / old - 1) : ""),
        ),
      ),
    ),
  );
}

function signedPercent(share) {
  return (share > 0 ? "+" : "\u2212") + percent(Math.abs(share));
}

// Groups, and values in none, whose multiply-adds a stop changed, the greatest change first: [group, before, after, values in it], each value
// by its name with [before, after], that of the greatest change first.
function mostChanged(stop) {
  const { before, after } = stop;
  const sums = new Map();
  const heirs = heirsOf(stop);
  const add = (nodes, side) => {
    for (const node of nodes.filter((each) => each.macs)) {
      const id = after.byId.has(node.id) ? node.id : (heirs.get(node.id) ?? node.id);
      const group = placeOf(id),
        key = group === ROOT ? `n${id}` : group;
      if (!sums.has(key)) sums.set(key, [group, 0, 0, new Map()]);
      const sum = sums.get(key),
        values = sum[3];
      sum[side] += node.macs;
      if (!values.has(id)) values.set(id, [0, 0]);
      values.get(id)[side - 1] += node.macs;
    }
  };
  add(before.nodes, 1);
  add(after.nodes, 2);
  const found = [...sums.values()];
  if (d3.sum(found, (each) => each[1]) === d3.sum(found, (each) => each[2])) return [];
  const change = ([, was, now]) => Math.abs(now - was);
  const first = (values) => [...values].map(([id, pair]) => [id, ...pair]).sort((a, b) => change(b) - change(a));
  return found
    .filter(change)
    .sort((a, b) => change(b) - change(a))
    .map(([group, was, now, values]) => [group, was, now, first(values)]);
}

function placeEntry([group, was, now, [[id, old, fresh]]]) {
  const label =
    group === ROOT
      ? report.names[id]
      : pathToGroup(group)
          .map((each) => report.groups[each][1])
          .join(".");
  const most = group === ROOT ? null : el("span", { class: "reason" }, `most at ${report.names[id]}: ${counted(old)} → ${counted(fresh)}`);
  return entry(id, [code(label), el("span", { class: "right" }, `${counted(was)} → ${counted(now)}`), most].filter(Boolean));
}

function rewriteEntry([rule, root, took, made, came, changed]) {
  const parts = [
    ["took", took],
    ["made", made],
    ["so came", came],
    ["so changed", changed],
  ].filter(([, ids]) => ids.length);
  const said = parts.flatMap(([what, ids], i) => [`${i ? "; " : ""}${what} `, ...nameLinks(ids)]);
  const head = el("button", { class: "entry", onclick: () => fly(root) }, code(report.names[root]));
  return el("li", {}, head, el("span", { class: "reason told" }, rule, said.length ? ": " : "", said));
}

// Names that are flown to; of many the first ones, and all where one asks.
function nameLinks(ids, few = 4) {
  const named = (id, i) => [i ? ", " : "", el("button", { class: "link", onclick: () => fly(id) }, code(report.names[id]))];
  if (ids.length <= few) return ids.flatMap(named);
  const rest = el("span", {});
  const more = el("button", { class: "link more", onclick: () => rest.replaceChildren(...ids.slice(few).flatMap((id) => named(id, 1))) });
  more.append(` and ${ids.length - few} more`);
  rest.append(more);
  return [...ids.slice(0, few).flatMap(named), rest];
}

function entry(id, children) {
  return el("li", {}, el("button", { class: "entry", onclick: () => fly(id) }, ...children));
}

// A headed list that shows a few entries, and all where one asks.
function section(title, entries, few = FEW) {
  const list = el("ol", { class: "entries" }, ...entries.slice(0, few));
  const rest = entries.slice(few);
  if (rest.length) {
    const more = el(
      "button",
      {
        class: "more",
        onclick: () => {
          more.parentElement.remove();
          list.append(...rest);
        },
      },
      `show ${rest.length} more`,
    );
    list.append(el("li", {}, more));
  }
  return el("section", {}, el("h3", {}, `${title} (${entries.length})`), list);
}

function idleEntry() {
  if (!idle.length) return "";
  const names = el("ul", {}, ...idle.map((step) => el("li", {}, el("b", {}, step.pass), " ", el("span", { class: "muted" }, step.does))));
  return el("li", { class: "idle" }, el("details", {}, el("summary", {}, `${plural(idle.length, "pass")} found nothing to do`), names));
}
