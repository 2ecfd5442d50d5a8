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
  ["?", "these keys", () => document.getElementById("help").showModal()],
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
