// Places for the boxes of a drawing. Each unfolded group is laid out by dagre on its own and then is one box of the group around it, so that
// a step moves little and what is known already is taken as it was.

const BOX = { width: 196, height: 44 };
const GROUP = { width: 224, height: 56, pad: 14, head: 34 };
const SPACE = { nodesep: 22, ranksep: 30, marginx: 0, marginy: 0 };
const laidOut = new Map();
const MOST_KEPT = 4000;

function placeBoxes(drawing) {
  sizeOf(drawing.top);
  drawing.top.x = 0;
  drawing.top.y = 0;
  drawing.lines = [];
  spread(drawing.top, drawing.lines);
  return drawing;
}

// Sets width and height, and of an unfolded group's children x and y within it.
function sizeOf(box) {
  if (box.node) return Object.assign(box, BOX);
  if (!box.isOpen) return Object.assign(box, { width: GROUP.width, height: GROUP.height });
  box.children.forEach(sizeOf);
  const found = remembered(box);
  const [dx, dy] = box.group === ROOT ? [0, 0] : [GROUP.pad, GROUP.head];
  box.children.forEach((child, i) => {
    child.within = { x: found.places[i][0] + dx, y: found.places[i][1] + dy };
  });
  const moved = (points) => points.map(([x, y]) => [x + dx, y + dy]);
  [...box.links.values()].forEach((link, i) => {
    link.points = moved(found.links[i]);
  });
  box.waysIn = new Map([...box.entries].map((child, i) => [child, moved(found.entries[i])]));
  box.waysOut = new Map([...box.exits].map((child, i) => [child, moved(found.exits[i])]));
  box.width = Math.max(found.width + 2 * dx, 120);
  box.height = found.height + dy + dx;
  return box;
}

function remembered(box) {
  const places = new Map(box.children.map((child, i) => [child, i]));
  const place = (child) => places.get(child);
  const links = [...box.links.values()].map(({ source, target }) => [place(source), place(target)]);
  const [entries, exits] = [[...box.entries].map(place), [...box.exits].map(place)];
  const key = JSON.stringify([box.children.map((child) => [child.width, child.height]), links, entries, exits]);
  if (!laidOut.has(key)) {
    if (laidOut.size > MOST_KEPT) laidOut.clear();
    laidOut.set(key, arranged(box.children, links, entries, exits));
  }
  return laidOut.get(key);
}

// By dagre; lines from outside come from a point above all boxes, and lines out lead to one below, so that they pass by what is between.
function arranged(children, links, entries, exits) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", ...SPACE });
  children.forEach((child, i) => graph.setNode(i, { width: child.width, height: child.height }));
  if (entries.length) graph.setNode("in", { width: 1, height: 1 });
  if (exits.length) graph.setNode("out", { width: 1, height: 1 });
  const ways = [...links, ...entries.map((i) => ["in", i]), ...exits.map((i) => [i, "out"])];
  ways.forEach(([from, to]) => graph.setEdge(from, to, { weight: from === "in" || to === "out" ? 1 : 2 }));
  dagre.layout(graph);
  const { width, height } = graph.graph();
  const points = ways.map(([from, to]) => graph.edge(from, to).points.map(({ x, y }) => [x, y]));
  return {
    width: Number.isFinite(width) ? width : 0,
    height: Number.isFinite(height) ? height : 0,
    places: children.map((child, i) => {
      const { x, y } = graph.node(i);
      return [x - child.width / 2, y - child.height / 2];
    }),
    links: points.slice(0, links.length),
    entries: points.slice(links.length, links.length + entries.length),
    exits: points.slice(links.length + entries.length),
  };
}

// Absolute places, outer groups first, and then the lines between boxes that are seen.
function spread(box, lines) {
  spreadBoxes(box);
  const join = (group) => {
    for (const link of group.links.values())
      for (const ends of link.ends.values()) lines.push({ ...ends, points: pointsOf(ends, link, group) });
    group.children.filter((child) => !child.node && child.isOpen).forEach(join);
  };
  join(box);
}

function spreadBoxes(box) {
  for (const child of box.children) {
    child.x = box.x + child.within.x;
    child.y = box.y + child.within.y;
    if (!child.node && child.isOpen) spreadBoxes(child);
  }
}

// Out of the groups around its start, along its link, and into those around its end.
function pointsOf({ paths: [out, into] }, link, group) {
  const placed = (around, points) => points.map(([x, y]) => [x + around.x, y + around.y]);
  const before = [...out].reverse().flatMap(([around, child]) => placed(around, around.waysOut.get(child)));
  return [...before, ...placed(group, link.points), ...into.flatMap(([around, child]) => placed(around, around.waysIn.get(child)))];
}
