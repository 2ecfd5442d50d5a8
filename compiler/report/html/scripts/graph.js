// The view of the graph: what is unfolded, which stop and side are shown, what is chosen; and how to fly to a value.

const view = { stop: stops[0], side: "both", open: new Set(), chosen: null };
const tip = document.getElementById("tip");
let canvas = null;

function startGraph() {
  canvas = new Canvas(document.getElementById("canvas"), {
    click: (box, event) => {
      event.stopPropagation();
      if (box.node) choose(box.node.id);
      else toggle(box.group);
    },
    hover: (what, event) => hover(what, event),
    leave: () => {
      tip.hidden = true;
    },
    focus: (box) => {
      view.focus = box.key;
    },
  });
  document.getElementById("fit").addEventListener("click", () => canvas.fit(250));
  document.getElementById("fold").addEventListener("click", () => foldAll());
  document.getElementById("unfold").addEventListener("click", () => unfoldAll());
  document.getElementById("closer").addEventListener("click", () => canvas.closer(1.4));
  document.getElementById("farther").addEventListener("click", () => canvas.closer(1 / 1.4));
  for (const button of document.querySelectorAll("#sides button")) button.addEventListener("click", () => showSide(button.dataset.side));
  window.addEventListener("resize", () => canvas.draw());
  redraw(null);
  canvas.fit(0, true);
}

// Draws the stop as it is unfolded; `anchor` is a key of a box that keeps its place in the window.
function redraw(anchor) {
  const old = anchor && canvas.drawing && canvas.drawing.boxes.get(anchor);
  const drawing = placeBoxes(new Drawing(view.stop, view.side, view.open));
  const now = old && drawing.boxes.get(anchor);
  canvas.drawing = drawing;
  canvas.floor();
  if (old && now && now.x !== undefined && old.x !== undefined) {
    const { transform } = canvas;
    const [dx, dy] = [
      (old.x + (old.node ? old.width / 2 : 0) - now.x - (now.node ? now.width / 2 : 0)) * transform.k,
      (old.y - now.y) * transform.k,
    ];
    canvas.covered = null;
    canvas.go(d3.zoomIdentity.translate(transform.x + dx, transform.y + dy).scale(transform.k), 0);
  }
  canvas.draw();
  document.getElementById("nothing").hidden = drawing.values.some((node) => node.kind !== "input" && !node.isParam);
  showLegend();
}

function showStop(stop, side) {
  view.stop = stop;
  view.side = side || view.side;
  const middle = view.chosen !== null && isShown(view.chosen) ? `n${view.chosen}` : (canvas.middle() || {}).key;
  redraw(middle);
  showSides();
  showPanel();
}

// The first box in which a stop changed something, where the window does not show it.
function flyToChange() {
  const { stop, side } = view;
  const first = stop.step && side === "both" && canvas.drawing.values.find((node) => stop.status.get(node.id) !== "same");
  if (!first) return;
  const box = canvas.drawing.visible(first.id);
  const [x0, y0, x1, y1] = canvas.window(0);
  const { k } = canvas.transform;
  if (k < SMALL || !within([box.x, box.y, box.x + box.width, box.y + box.height], [x0, y0 + canvas.top / k, x1, y1])) canvas.flyTo(box);
}

function showSide(side) {
  showStop(view.stop, side);
}

function showSides() {
  for (const button of document.querySelectorAll("#sides button"))
    button.setAttribute("aria-pressed", String(button.dataset.side === view.side));
}

function showLegend() {
  const { counts } = difference(view.stop);
  const words = { gone: "went", came: "came", changed: "changed" };
  document.getElementById("legend").replaceChildren(
    ...Object.keys(words)
      .filter((what) => view.side === "both" && counts[what])
      .map((what) => el("li", { class: what }, `${MARKS[what]} ${counts[what]} ${words[what]}`)),
  );
}

function isShown(id) {
  const box = canvas.drawing.boxes.get(`n${id}`);
  return Boolean(box) && canvas.drawing.visible(id) === box;
}

function toggle(group) {
  const box = canvas.drawing.boxes.get(`g${group}`);
  if (view.open.has(group)) view.open.delete(group);
  else view.open.add(group);
  redraw(box ? box.key : null);
  const element = canvas.elementOf(`g${group}`);
  if (element) element.focus({ preventScroll: true });
}

function foldAll() {
  view.open.clear();
  redraw(null);
  canvas.fit(0, true);
}

function unfoldAll() {
  report.groups.forEach((_, group) => view.open.add(group));
  redraw(null);
  canvas.fit(0, true);
}

function choose(id) {
  view.chosen = id;
  canvas.mark(`n${id}`);
  showPanel();
}

// Unfolds what is around a value, shows it in the middle and chooses it. A parameter is found at who reads it.
function fly(id) {
  showView("graph");
  let { before, after } = view.stop;
  if (view.side === "before") after = before;
  const node = after.byId.get(id) || before.byId.get(id);
  if (!node) return say(`%${report.names[id]} is not in the graph at this pass`);
  const target = isPart(node) ? (after.readers.get(id) || before.readers.get(id) || [])[0] : id;
  if (target === undefined) return undefined;
  if (view.side !== "both" && !canvas.drawing.boxes.has(`n${target}`)) {
    view.side = "both";
    showSides();
  }
  for (const group of pathOf(target)) view.open.add(group);
  redraw(null);
  const box = canvas.drawing.boxes.get(`n${target}`);
  if (box) canvas.flyTo(box);
  choose(target);
  return say(`${report.names[target]} is chosen`);
}

// Where from: the rule, what it was made from, the user's line, why.
function hover(what, event) {
  const lines = what.points ? lineWords(what) : what.node ? valueWords(what) : groupWords(what);
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const stage = document.getElementById("stage").getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const x = Math.min(event.clientX - stage.left + 16, stage.width - width - 8),
    y = event.clientY - stage.top + 18;
  tip.style.left = `${Math.max(x, 8)}px`;
  tip.style.top = `${y + height > stage.height - 8 ? Math.max(y - height - 34, 8) : y}px`;
}

function lineWords(each) {
  const node = view.stop.after.byId.get(each.values[0]) || view.stop.before.byId.get(each.values[0]);
  const more = each.values.length > 1 ? ` and ${each.values.length - 1} more` : "";
  return [el("p", {}, code(node.name, "strong"), more), el("p", {}, code(node.type), ` ${inBytes(node.bytes)}`)];
}

function groupWords(box) {
  const changes = ["gone", "came", "changed"]
    .filter((what) => box.counts[what])
    .map((what) => el("span", { class: what }, `${MARKS[what]}${box.counts[what]} `));
  return [
    el("p", {}, code(box.label, "strong")),
    el("p", {}, groupFigures(box)),
    changes.length ? el("p", {}, ...changes) : null,
  ].filter(Boolean);
}

function valueWords({ node, status }) {
  const events = historyOf(node.id).filter(([stop]) => view.stop.step === null || stop === view.stop);
  const old = wasOf(view.stop, node);
  return [
    el("p", {}, code(node.name, "strong")),
    el("p", {}, code(node.kind), " ", code(node.attributes), " ", code(node.type)),
    old && (status === "changed" || status === "came") && (old.kind !== node.kind || old.attributes !== node.attributes)
      ? el("p", { class: "changed" }, "was ", code(old.kind), " ", code(old.attributes))
      : null,
    ...events
      .slice(0, 4)
      .map(([stop, [rule]]) =>
        el(
          "p",
          {},
          el("b", {}, stop.step.pass),
          rule === stop.step.pass ? "" : ` · ${rule}`,
          el("br"),
          stop.step.does,
          el("br"),
          el("span", { class: "muted" }, "Why at this place: ", stop.step.why),
        ),
      ),
    node.madeFrom.length
      ? el("p", {}, "made from ", ...node.madeFrom.slice(0, 6).flatMap((id, i) => [i ? ", " : "", code(report.names[id])]))
      : null,
    node.source ? el("p", { class: "muted" }, node.source, node.scope ? `, in ${node.scope}` : "") : null,
  ].filter(Boolean);
}
