// The report's data as nodes and graphs. A row of a node is made an object when it is first asked for.

const report = JSON.parse(document.getElementById("report").textContent);
const FIELDS = ["macs", "flops", "read", "written", "elements", "bytes", "values"];

const nodeAt = (() => {
  const made = [];
  return (row) => {
    if (!made[row]) {
      const [name, kind, label, attributes, type, operands, source, scope, madeFrom, ...figures] = report.nodes[row];
      const node = { row, id: name, operands, madeFrom };
      node.name = report.names[name];
      node.kind = report.kinds[kind];
      node.label = report.labels[label];
      node.attributes = report.attributes[attributes];
      node.type = report.types[type];
      node.source = report.sources[source];
      node.scope = report.scopes[scope];
      FIELDS.forEach((field, place) => {
        node[field] = figures[place];
      });
      node.isParam = node.values >= 0;
      node.moved = node.read + node.written;
      made[row] = node;
    }
    return made[row];
  };
})();

// One graph of the trace: its nodes in order, and by the number of their name.
class NetworkGraph {
  constructor(rows) {
    this.rows = rows;
    this.nodes = rows.map(nodeAt);
    this.byId = new Map(this.nodes.map((node) => [node.id, node]));
  }

  get readers() {
    if (!this.readersOf) {
      this.readersOf = new Map();
      for (const node of this.nodes)
        for (const operand of new Set(node.operands)) this.readersOf.set(operand, [...(this.readersOf.get(operand) || []), node.id]);
    }
    return this.readersOf;
  }
}

// The graph as it came, and after each pass; a pass that changed nothing leaves the very same graph.
const graphs = (() => {
  const found = [new NetworkGraph(report.start.order)];
  for (const step of report.steps) {
    const before = found[found.length - 1];
    found.push(step.splices ? new NetworkGraph(spliced(before.rows, step.splices)) : before);
  }
  return found;
})();

function spliced(rows, splices) {
  const result = [];
  let place = 0;
  for (const [at, gone, came] of splices) {
    result.push(...rows.slice(place, at), ...came);
    place = at + gone;
  }
  return result.concat(rows.slice(place));
}

// Totals after each pass, those of before where it changed nothing.
const totals = (() => {
  const found = [report.start.totals];
  for (const step of report.steps) found.push(step.totals === undefined ? found[found.length - 1] : step.totals);
  return found;
})();

// Kernels as engines ran them: [engine, kernels].
const profiles = report.measured.times.map(([engine, kernels]) => [
  engine,
  kernels.map(([kernel, nodes, microseconds, share, products, bytes, spread, limit]) => ({
    kernel,
    nodes,
    microseconds,
    share,
    products,
    bytes,
    spread,
    limit,
  })),
]);

const peaks = report.measured.peaks || report.peaks;
const lastGraph = graphs[graphs.length - 1];
const outputs = new Set(report.start.outputs);

// Where the slider can stand: all passes together, and each that changed or declined something. Of a single one all is said by itself.
const stops = (() => {
  const whole = { step: null, before: graphs[0], after: lastGraph, was: totals[0], now: totals[totals.length - 1] };
  const each = report.steps
    .map((step, place) => ({ step, before: graphs[place], after: graphs[place + 1], was: totals[place], now: totals[place + 1] }))
    .filter(({ step }) => step.rewrites.length || step.declined.length || step.splices || step.problem);
  const found = report.steps.length === 1 && each.length ? each : [whole, ...each];
  return found.map((stop, number) => ({ number, ...stop }));
})();
const idle = report.steps.filter((step) => !stops.some((stop) => stop.step === step));

// What two graphs have between them: a status for each value, "same", "changed", "came" or "gone".
function difference(stop) {
  if (stop.status) return stop;
  const { before, after } = stop;
  const status = new Map();
  for (const node of after.nodes) {
    const old = before.byId.get(node.id);
    status.set(node.id, !old ? "came" : old === node ? "same" : "changed");
  }
  for (const node of before.nodes) if (!after.byId.has(node.id)) status.set(node.id, "gone");
  // values of a parameter are drawn with who reads them
  for (const node of after.nodes) {
    const changed = node.operands.some((id) => isPart(after.byId.get(id)) && status.get(id) !== "same");
    if (changed && status.get(node.id) === "same") status.set(node.id, "changed");
  }
  stop.status = status;
  stop.counts = { came: 0, gone: 0, changed: 0 };
  for (const [id, what] of status) if (what !== "same" && !isPart(after.byId.get(id) || before.byId.get(id))) stop.counts[what] += 1;
  return stop;
}

// What stands at the end of a stop for a value that went in it, by their names, through all passes between: what was made from it.
function heirsOf(stop) {
  if (stop.heirs) return stop.heirs;
  const found = new Map(stop.before.nodes.map((node) => [node.id, node.id]));
  for (let i = graphs.indexOf(stop.before); graphs[i] !== stop.after; i++) {
    const [old, fresh] = [graphs[i], graphs[i + 1]];
    if (old === fresh) continue;
    const heirs = new Map();
    for (const node of fresh.nodes)
      for (const id of node.madeFrom) {
        const known = fresh.byId.get(heirs.get(id));
        if (!known || known.macs < node.macs) heirs.set(id, node.id);
      }
    for (const [id, now] of found) if (!fresh.byId.has(now)) found.set(id, heirs.get(now));
  }
  stop.heirs = found;
  return found;
}

// What a value of a stop's end was at its start: itself, and what went into it.
function sourcesOf(stop, id) {
  if (!stop.sources) {
    stop.sources = new Map();
    for (const [from, to] of heirsOf(stop)) if (to !== undefined) stop.sources.set(to, [...(stop.sources.get(to) || []), stop.before.byId.get(from)]);
  }
  return stop.sources.get(id) || [];
}

// The one of them that it is compared with.
function wasOf(stop, node) {
  return stop.before.byId.get(node.id) || sourcesOf(stop, node.id).find((old) => old.kind === node.kind);
}

// A parameter is drawn as a part of its readers, unless it is what the network returns.
function isPart(node) {
  return node !== undefined && node.isParam && !outputs.has(node.id);
}

// Every rewrite by the names that it took, made or computed anew: [stop, rewrite].
const historyOf = (() => {
  const found = new Map();
  for (const stop of stops) {
    for (const rewrite of stop.step ? stop.step.rewrites : []) {
      const [, root, ...names] = rewrite; // took, made, else came, else changed
      for (const id of new Set([root, ...names.flat()])) found.set(id, [...(found.get(id) || []), [stop, rewrite]]);
    }
  }
  return (id) => found.get(id) || [];
})();
