// What of a stop is drawn: the boxes of values and groups that are unfolded, and the edges between them.

const ROOT = -1;
const parentOf = (group) => report.groups[group][0];
const placeOf = (id) => {
  const group = report.place[id];
  return group === undefined ? ROOT : group;
};

// The groups around a value, the outermost first.
const pathOf = (() => {
  const known = new Map([[ROOT, []]]);
  const to = (group) => {
    if (!known.has(group)) known.set(group, [...to(parentOf(group)), group]);
    return known.get(group);
  };
  return (id) => to(placeOf(id));
})();
const pathToGroup = (group) => (group === ROOT ? [] : [...pathToGroup(parentOf(group)), group]);

// The values to draw at a stop, in order: those of one side, or of both with what went where it stood.
function shownValues(stop, side) {
  const { before, after } = stop;
  const graph = side === "before" ? before : after;
  const shown = (side === "both" ? merged(before, after) : graph.nodes).filter((node) => !isPart(node));
  return shown;
}

function merged(before, after) {
  const found = [];
  const waiting = before.nodes.filter((node) => !after.byId.has(node.id));
  const places = new Map(before.nodes.map((node, place) => [node.id, place]));
  let next = 0;
  for (const node of after.nodes) {
    const place = places.get(node.id);
    while (place !== undefined && next < waiting.length && places.get(waiting[next].id) < place) found.push(waiting[next++]);
    found.push(node);
  }
  return found.concat(waiting.slice(next));
}

// [producer, consumer, status] of every edge between values that are drawn.
function shownEdges(stop, side, values) {
  const drawn = new Set(values.map((node) => node.id));
  const found = new Map();
  const add = (graph, status) => {
    for (const node of graph.nodes) {
      if (!drawn.has(node.id)) continue;
      for (const operand of node.operands) {
        const key = `${operand} ${node.id}`;
        if (!drawn.has(operand)) continue;
        const known = found.get(key);
        if (!known) found.set(key, [operand, node.id, status]);
        else if (known[2] !== status && known[2] !== "same") known[2] = "same";
      }
    }
  };
  if (side === "before") add(stop.before, "same");
  else if (side === "after" || stop.before === stop.after) add(stop.after, "same");
  else {
    add(stop.before, "gone");
    add(stop.after, "came");
  }
  return [...found.values()];
}

// The tree of boxes at a stop. A box is a value, or a group with the counts of what changed in it.
class Drawing {
  constructor(stop, side, open) {
    difference(stop);
    this.stop = stop;
    this.side = side;
    this.open = open;
    this.values = shownValues(stop, side);
    this.boxes = new Map();
    this.top = this.group(ROOT);
    for (const node of this.values) this.enter(node);
    this.edges = shownEdges(stop, side, this.values);
    this.joinEdges();
  }

  group(number) {
    const key = `g${number}`;
    if (!this.boxes.has(key)) {
      const box = {
        key,
        group: number,
        children: [],
        was: { values: 0, macs: 0 },
        now: { values: 0, macs: 0 },
        counts: { came: 0, gone: 0, changed: 0 },
        links: new Map(),
        entries: new Set(),
        exits: new Set(),
      };
      box.label = number === ROOT ? "" : report.groups[number][1];
      box.isOpen = number === ROOT || this.open.has(number);
      this.boxes.set(key, box);
      if (number !== ROOT) {
        box.parent = this.group(parentOf(number));
        box.parent.children.push(box);
      }
    }
    return this.boxes.get(key);
  }

  enter(node) {
    const box = { key: `n${node.id}`, node, status: this.side === "both" ? this.stop.status.get(node.id) : "same" };
    box.parent = this.group(placeOf(node.id));
    box.parent.children.push(box);
    this.boxes.set(box.key, box);
    const { before, after } = this.stop;
    const both = { before: [before, before], after: [after, after], both: [before, after] }[this.side];
    const sides = both.map((graph, i) => [i ? "now" : "was", graph]).filter(([, graph]) => graph.byId.has(node.id));
    for (let around = box.parent; around; around = around.parent) {
      for (const [side, graph] of sides) {
        around[side].values += 1;
        around[side].macs += graph.byId.get(node.id).macs;
      }
      if (box.status !== "same") around.counts[box.status] += 1;
    }
  }

  // Every edge belongs to the innermost group that has both its ends, as a link between two of that group's children.
  joinEdges() {
    for (const edge of this.edges) {
      const [from, to] = [this.chain(edge[0]), this.chain(edge[1])];
      let depth = 0;
      while (from[depth + 1] && from[depth] === to[depth] && from[depth + 1] === to[depth + 1]) depth += 1;
      const common = from[depth];
      const [source, target] = [from[depth + 1], to[depth + 1]];
      if (!source || !target || source === target || !this.isSeen(common)) continue;
      const key = `${source.key} ${target.key}`;
      if (!common.links.has(key)) common.links.set(key, { source, target, ends: new Map() });
      const ends = common.links.get(key).ends;
      const paths = [deeper(from, depth + 1), deeper(to, depth + 1)];
      paths[0].forEach(([group, child]) => group.exits.add(child));
      paths[1].forEach(([group, child]) => group.entries.add(child));
      const [start, end] = [this.visible(edge[0]), this.visible(edge[1])];
      const endsKey = `${start.key} ${end.key}`;
      const known = ends.get(endsKey);
      if (!known) ends.set(endsKey, { start, end, paths, status: edge[2], values: [edge[0]] });
      else {
        known.values.push(edge[0]);
        if (known.status !== edge[2]) known.status = "same";
      }
    }
  }

  // The boxes from the whole drawing to a value.
  chain(id) {
    const box = this.boxes.get(`n${id}`);
    if (!box.chain) {
      box.chain = [box];
      for (let around = box.parent; around; around = around.parent) box.chain.unshift(around);
    }
    return box.chain;
  }

  // The box that stands for a value: its own, or the outermost folded group around it.
  visible(id) {
    return this.chain(id).find((box) => box.node || !box.isOpen);
  }

  isSeen(group) {
    for (let around = group; around; around = around.parent) if (!around.isOpen) return false;
    return true;
  }
}

// The unfolded groups from one on inwards, each with the child that the way leads through.
function deeper(chain, depth) {
  const found = [];
  for (let i = depth; chain[i + 1] && !chain[i].node && chain[i].isOpen; i++) found.push([chain[i], chain[i + 1]]);
  return found;
}
