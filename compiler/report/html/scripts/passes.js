// The slider over the passes, and of the pass it stands at what it did, what it declined, and which values changed most.

const FEW = 30; // entries of a list that are shown before one asks for all

function startPasses() {
  const slider = document.getElementById("slider");
  slider.max = String(stops.length - 1);
  document.querySelector(".slider").hidden = stops.length < 2;
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  document
    .getElementById("ticks")
    .replaceChildren(...stops.map((stop) => el("span", { class: stop.step ? (stop.step.rewrites.length ? "did" : "declined") : "all" })));
  showStops();
}

function goTo(number) {
  const stop = stops[Math.min(Math.max(number, 0), stops.length - 1)];
  if (stop === view.stop) return;
  showStop(stop);
  showStops();
  say(stop.step ? `${stop.step.pass}: ${stop.step.does}` : "all passes together");
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
    details.append(el("p", { class: "why" }, el("b", {}, "Why here: "), step.why));
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

function totalsTable({ was, now, before, after }) {
  if (!was || !now) return el("p", { class: "muted" }, "No totals: the graph has no types yet.");
  const computes = (graph) => graph.nodes.filter((node) => !node.isParam && node.kind !== "input").length;
  const rows = [
    ["Operators", computes(before), computes(after), whole],
    ["Multiply-adds", was.macs, now.macs, counted],
    ["Parameters", was.params, now.params, counted],
    ["Bytes moved", was.bytesMoved, now.bytesMoved, inBytes],
    ["Weights", was.weightBytes, now.weightBytes, inBytes],
    now.estimated === undefined ? null : ["Estimated time", was.estimated ?? now.estimated, now.estimated, inSeconds],
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

// Groups, and values in none, whose multiply-adds a stop changed, the greatest change first: [group, value in it, before, after].
function mostChanged({ before, after }) {
  const sums = new Map();
  const owner = new Map(after.nodes.flatMap((node) => node.madeFrom.map((id) => [id, node.id]))); // of what went into another value
  const add = (nodes, side) => {
    for (const node of nodes.filter((each) => each.macs)) {
      const id = after.byId.has(node.id) ? node.id : (owner.get(node.id) ?? node.id);
      const group = placeOf(id),
        key = group === ROOT ? `n${id}` : group;
      if (!sums.has(key)) sums.set(key, [group, id, 0, 0]);
      sums.get(key)[side] += node.macs;
    }
  };
  add(before.nodes, 2);
  add(after.nodes, 3);
  const found = [...sums.values()];
  if (d3.sum(found, (each) => each[2]) === d3.sum(found, (each) => each[3])) return [];
  return found.filter((each) => each[2] !== each[3]).sort((a, b) => Math.abs(b[3] - b[2]) - Math.abs(a[3] - a[2]));
}

function placeEntry([group, id, was, now]) {
  const label =
    group === ROOT
      ? report.names[id]
      : pathToGroup(group)
          .map((each) => report.groups[each][1])
          .join(".");
  return entry(id, [code(label), el("span", { class: "right" }, `${counted(was)} → ${counted(now)}`)]);
}

function rewriteEntry([rule, root, took, made]) {
  const names = (ids) =>
    ids.length
      ? ids
          .slice(0, 4)
          .map((id) => report.names[id])
          .join(", ") + (ids.length > 4 ? ` and ${ids.length - 4} more` : "")
      : "nothing";
  return entry(root, [
    code(report.names[root]),
    el("span", { class: "reason" }, took.length || made.length ? `${rule}: took ${names(took)}; made ${names(made)}` : rule),
  ]);
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
