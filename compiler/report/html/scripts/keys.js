// The keyboard: every key with what it does, which the help shows.

const KEYS = [
  ["/", "search", () => document.getElementById("search").focus()],
  ["[", "the pass before", () => goTo(view.stop.number - 1)],
  ["]", "the next pass", () => goTo(view.stop.number + 1)],
  ["b", "before, both, after in turn", () => showSide({ before: "both", both: "after", after: "before" }[view.side])],
  ["f", "fit the window", () => canvas.fit(250)],
  ["e", "unfold all", () => unfoldAll()],
  ["c", "fold all", () => foldAll()],
  ["+", "closer", () => canvas.closer(1.4)],
  ["-", "farther", () => canvas.closer(1 / 1.4)],
  ["1", "graph", () => showView("graph")],
  ["2", "charts", () => showView("charts")],
  ["3", "layers", () => showView("layers")],
  ["t", "light or dark", () => turnTheme()],
  ["?", "keys and words", () => document.getElementById("help").showModal()],
];
const WORDS = [
  ["value", "what one operator computes: a box of the graph, called by its name"],
  ["scope", "a named part of the network that holds values and other scopes: a box that unfolds"],
  ["pass", "a walk over the whole graph that improves it in one way; passes follow each other in an order"],
  ["rewrite", "one place where a pass changed the graph: the values that it took, and those that it made for them"],
  ["declined", "a place where a pass could have made a rewrite and did not, with the reason"],
  ["stop", "where the slider stands: all passes together, from start to end, or one of them"],
  ["went, came, changed", "the name is only in the graph before the stop; only after it; in both, but computed otherwise"],
  ["fuse", "to make one operator of two that follow each other, as a batch norm goes into the weights of the convolution before it"],
  ["bn1, a convolution", "what was fused has the name of the last that it took: bn1 is the convolution with its norm folded in"],
  ["hoist", "to move work up to where less of it is left: a stride moves before what would be computed and thrown away"],
  ["MACs", "multiply-adds: a multiplication and the addition of its result; two FLOPs"],
  ["arena", "the one block of memory in which activations lie, those at the same place that are not in use at once"],
  ["CONV3-64/2", "a convolution with windows of 3\u00d73, 64 channels of output and, where it is more than 1, a stride of 2"],
  ["-O2", "the level of optimization, from 0, no pass, to 3, all that keep the results"],
];
const MOVES = { ArrowUp: "operand", ArrowDown: "reader", ArrowLeft: "left", ArrowRight: "right" };

function startKeys() {
  const help = document.getElementById("help");
  help.replaceChildren(
    el("h2", {}, "Keys"),
    el(
      "dl",
      {},
      KEYS.map(([key, does]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, does)]),
      el("dt", {}, el("kbd", {}, "Arrows")),
      el("dd", {}, "from a box to those before, after and beside it"),
      el("dt", {}, el("kbd", {}, "Enter")),
      el("dd", {}, "choose a value, fold or unfold a group"),
    ),
    el("h2", {}, "Words"),
    el(
      "dl",
      { class: "words" },
      WORDS.map(([word, means]) => [el("dt", {}, word), el("dd", {}, means)]),
    ),
    el("form", { method: "dialog" }, el("button", {}, "Close")),
  );
  document.getElementById("help-button").addEventListener("click", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open || /^(input|textarea|select)$/i.test(event.target.tagName)) return;
    const box = event.target.closest && event.target.closest(".box");
    if (box && (event.key === "Enter" || event.key === " ")) {
      box.dispatchEvent(new MouseEvent("click", { bubbles: true }));
      event.preventDefault();
      return;
    }
    if (box && MOVES[event.key]) {
      moveFocus(box.dataset.key, MOVES[event.key]);
      event.preventDefault();
      return;
    }
    const known = KEYS.find(([key]) => key === event.key);
    if (known) {
      known[2]();
      event.preventDefault();
    }
  });
}

// Along the lines of the drawing, or to the neighbour at the side.
function moveFocus(key, way) {
  const { drawing } = canvas;
  const box = drawing.boxes.get(key);
  const next =
    way === "operand"
      ? alongLine(drawing, box, "end", "start")
      : way === "reader"
        ? alongLine(drawing, box, "start", "end")
        : beside(box, way);
  if (!next) return;
  if (!canvas.elementOf(next.key) || !within([next.x, next.y, next.x + next.width, next.y + next.height], canvas.window(0)))
    canvas.flyTo(next, 0);
  const element = canvas.elementOf(next.key);
  if (element) element.focus({ preventScroll: true });
}

function alongLine(drawing, box, from, to) {
  const found = drawing.lines.filter((each) => each[from] === box).map((each) => each[to]);
  return found.sort((a, b) => a.x - b.x)[0];
}

function beside(box, way) {
  const others = box.parent.children.filter(
    (each) =>
      each !== box &&
      Math.abs(each.y + each.height / 2 - box.y - box.height / 2) < 40 &&
      (way === "left" ? each.x < box.x : each.x > box.x),
  );
  return others.sort((a, b) => Math.abs(a.x - box.x) - Math.abs(b.x - box.x))[0];
}
