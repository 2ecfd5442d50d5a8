// What is known of the chosen value: what it is and was, its operands and readers, what it costs, its weights, and what passes did with it.

function showPanel() {
  const panel = document.getElementById("panel");
  const { before, after } = view.stop;
  const id = view.chosen;
  const node =
    id === null ? undefined : (view.side === "before" ? before.byId.get(id) : undefined) || after.byId.get(id) || before.byId.get(id);
  if (!node) {
    panel.replaceChildren(...emptyPanel(id));
    return;
  }
  const graph = after.byId.get(id) === node ? after : before;
  panel.replaceChildren(...panelHead(node), ...panelParts(node, graph));
}

function emptyPanel(id) {
  if (id !== null) return [el("p", { class: "empty" }, code(report.names[id]), " is not in the graph at this pass.")];
  return [el("p", { class: "empty" }, "Choose a value in the graph, or a rewrite on the left, to see what is known of it.")];
}

function panelHead(node) {
  const status = difference(view.stop).status.get(node.id);
  const words = { came: "came at this stop", gone: "went at this stop", changed: "changed at this stop" };
  return [
    el("h2", {}, node.label),
    el("p", { class: "path" }, code(node.name, "strong")),
    status && status !== "same" ? el("p", { class: `status ${status}` }, `${MARKS[status]} ${words[status]}`, ...heirWords(node, status)) : null,
    node.source ? el("p", { class: "muted" }, "from ", code(node.source), node.scope ? [", in ", code(node.scope)] : "") : null,
    node.madeFrom.length
      ? el("p", { class: "muted" }, "made from ", ...nameLinks(node.madeFrom))
      : null,
  ].filter(Boolean);
}

// What stands for a value that went.
function heirWords(node, status) {
  const heir = status === "gone" ? heirsOf(view.stop).get(node.id) : undefined;
  return heir === undefined ? [] : ["; ", ...nameLinks([heir]), " stands for it"];
}

function panelParts(node, graph) {
  return [
    part("What it is", isWhat(node)),
    part("Cost", costOf(node, graph)),
    measuredPart(node),
    part("Operands", operandsOf(node, graph)),
    part("Readers", readersOf(node, graph)),
    part("What passes did with it", historyWords(node)),
  ].filter(Boolean);
}

function part(title, content) {
  return content && (!Array.isArray(content) || content.length) ? el("section", {}, el("h3", {}, title), content) : null;
}

function table(rows) {
  return el(
    "table",
    { class: "facts" },
    el(
      "tbody",
      {},
      rows.filter(Boolean).map(([what, ...words]) => el("tr", {}, el("th", { scope: "row" }, what), el("td", {}, ...words))),
    ),
  );
}

function isWhat(node) {
  const old = wasOf(view.stop, node);
  const was = (field) =>
    old && old !== node && old[field] !== node[field] ? el("div", { class: "was" }, "was ", code(old[field] || "without")) : null;
  return table([
    ["Operator", code(node.kind), was("kind")],
    (node.attributes || was("attributes")) && ["Attributes", code(node.attributes), was("attributes")],
    ["Type", code(node.type), was("type")],
  ]);
}

function costOf(node, graph) {
  if (node.kind === "input" || node.isParam)
    return table([
      ["Elements", whole(node.elements)],
      ["Bytes", inBytes(node.bytes)],
    ]);
  const sum = (field) => graph.nodes.reduce((total, each) => total + each[field], 0);
  const share = (field) => {
    const all = sum(field);
    return all && node[field]
      ? el("span", { class: "share" }, el("span", { class: "meter" }, meter(node[field] / all)), ` ${percent(node[field] / all)}`)
      : null;
  };
  const sources = view.stop.after.byId.get(node.id) === node ? sourcesOf(view.stop, node.id) : [];
  const was = (field, words) => {
    const before = sources.reduce((total, each) => total + each[field], 0);
    return sources.length && before !== node[field] ? el("div", { class: "was" }, `was ${words(before)}`) : null;
  };
  return table([
    ["Multiply-adds", whole(node.macs), share("macs"), was("macs", whole)],
    ["FLOPs", whole(node.flops)],
    ["Bytes moved", inBytes(node.moved), share("moved"), was("moved", inBytes)],
    ["Intensity", node.moved ? `${trimmed(node.flops / node.moved)} FLOP a byte` : "moves nothing"],
    ["Result", `${whole(node.elements)} elements, ${inBytes(node.bytes)}`],
  ]);
}

function meter(share) {
  return svg(
    "svg",
    { class: "bar", viewBox: "0 0 40 6", width: 40, height: 6, "aria-hidden": "true" },
    svg("rect", { class: "all", width: 40, height: 6, rx: 2 }),
    svg("rect", { class: "own", width: Math.max(40 * share, 1), height: 6, rx: 2 }),
  );
}

function operandsOf(node, graph) {
  return node.operands.length
    ? el(
        "ol",
        { class: "entries" },
        node.operands.map((id) => {
          const operand = graph.byId.get(id);
          return operand && isPart(operand) ? el("li", { class: "weights" }, ...weightsOf(operand)) : link(id, operand);
        }),
      )
    : null;
}

function readersOf(node, graph) {
  const readers = graph.readers.get(node.id) || [];
  const found = readers.map((id) => link(id, graph.byId.get(id)));
  if (outputs.has(node.id)) found.push(el("li", { class: "muted" }, "an output of the network"));
  return found.length ? el("ol", { class: "entries" }, found) : null;
}

function link(id, node) {
  return el(
    "li",
    {},
    el(
      "button",
      { class: "entry", onclick: () => fly(id) },
      code(report.names[id]),
      el("span", { class: "reason" }, node ? `${node.label}  ${node.type}` : ""),
    ),
  );
}

function weightsOf(param) {
  const old = view.stop.before.byId.get(param.id);
  const changed = old && old !== param ? el("span", { class: "changed" }, " other values than before") : null;
  const head = [code(param.name), el("span", { class: "reason" }, `${param.type}  ${inBytes(param.bytes)}`, changed)];
  const seen = report.weights[param.row];
  if (!seen) return [...head, el("span", { class: "reason muted" }, "values not looked at")];
  const [low, high, mean, deviation, zeros, counts] = seen;
  const words =
    low === high ? `all ${low}` : `${low} to ${high}, mean ${mean}, deviation ${deviation}${zeros ? `, ${percent(zeros)} zeros` : ""}`;
  const drawn = d3.sum(counts); // bars are of so many; the figures of all
  const some = drawn < param.elements && low !== high ? `; bars of ${whole(drawn)} of them, drawn at random` : "";
  return [...head, histogram(counts, low, high), el("span", { class: "reason" }, words + some)];
}

function histogram(counts, low, high) {
  const most = Math.max(...counts),
    width = 240,
    height = 40;
  const step = width / counts.length;
  const bars = counts.map((count, i) =>
    svg("rect", { x: i * step + 0.5, y: height - (height * count) / most, width: Math.max(step - 1, 1), height: (height * count) / most }),
  );
  const zero =
    low < 0 && high > 0 ? svg("line", { x1: (width * -low) / (high - low), x2: (width * -low) / (high - low), y1: 0, y2: height }) : null;
  return svg(
    "svg",
    { class: "histogram", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `values from ${low} to ${high}` },
    ...bars,
    zero,
  );
}

// Times of engines, and errors of theirs as shares of what rounding may lead to, where they were measured.
function measuredPart(node) {
  const rows = [];
  for (const [engine, kernels] of profiles) {
    for (const { kernel, nodes, microseconds, share, spread, limit } of kernels.filter((each) => each.nodes.includes(node.id))) {
      const others = nodes.length > 1 ? ` with ${plural(nodes.length - 1, "other value")}` : "";
      const slower = spread >= 1.05 ? `; the slower of its rounds took ${trimmed(spread)} times as long` : "";
      const near = limit === "-" ? "" : `; of the machine's limit ${limit}`;
      rows.push([
        engine,
        inSeconds(microseconds / 1e6),
        el("span", { class: "muted" }, ` ${percent(share)} of all, in ${kernel}${others}${near}${slower}`),
      ]);
    }
  }
  for (const [engine, shares] of report.bounds) {
    const share = shares[node.id];
    if (share !== undefined)
      rows.push([`${engine}, error`, typeof share === "number" ? `${trimmed(share)} of its bound` : `${share}, where it has a bound`]);
  }
  return rows.length ? part("Measured", table(rows)) : null;
}

function historyWords(node) {
  const events = historyOf(node.id);
  return events.length
    ? el(
        "ol",
        { class: "entries" },
        events.map(([stop, [rule, root, took, made, came]]) => {
          const role = root === node.id ? "computed anew" : [...made, ...came].includes(node.id) ? "made" : took.includes(node.id) ? "taken" : "changed";
          return el(
            "li",
            {},
            el(
              "button",
              {
                class: "entry",
                onclick: () => {
                  goTo(stop.number);
                  fly(node.id);
                },
              },
              el("b", {}, stop.step.pass),
              el(
                "span",
                { class: "reason" },
                `${role} by ${rule}${root === node.id ? "" : ` for ${report.names[root]}`}: ${stop.step.does}`,
              ),
              el("span", { class: "reason" }, `Why at this place: ${stop.step.why}`),
            ),
          );
        }),
      )
    : null;
}
