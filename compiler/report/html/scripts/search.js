// Search by name or operator among the values of the stop; names of parameters lead to their readers.

const MOST_HITS = 40;

function startSearch() {
  const input = document.getElementById("search");
  const list = document.getElementById("hits");
  let hits = [],
    at = -1;
  const mark = () =>
    [...list.children].forEach((entry, i) => {
      entry.setAttribute("aria-selected", String(i === at));
      if (i === at) entry.scrollIntoView({ block: "nearest" });
    });
  const take = (node) => {
    list.hidden = true;
    if (node) fly(node.id);
  };
  const look = () => {
    const all = matches(input.value);
    hits = all.slice(0, MOST_HITS);
    at = hits.length ? 0 : -1;
    list.replaceChildren(
      ...hits.map((node) =>
        el(
          "li",
          {
            role: "option",
            onpointerdown: (event) => {
              event.preventDefault();
              take(node);
            },
          },
          code(shortened(node.name, 60)),
          el("span", { class: "muted" }, node.label),
        ),
      ),
    );
    if (all.length > hits.length) list.append(el("li", { class: "rest muted" }, `and ${whole(all.length - hits.length)} more`));
    if (input.value && !all.length) list.append(el("li", { class: "rest muted" }, "nothing of that name here"));
    list.hidden = !input.value;
    canvas.mark(canvas.chosen, new Set(all.flatMap((node) => visibleKeys(node))));
    mark();
  };
  input.addEventListener("input", look);
  input.addEventListener("focus", () => {
    if (input.value) look();
  });
  input.addEventListener("blur", () => {
    list.hidden = true;
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      at = Math.min(Math.max(at + (event.key === "ArrowDown" ? 1 : -1), 0), hits.length - 1);
      mark();
      event.preventDefault();
    } else if (event.key === "Enter") take(hits[at]);
    else if (event.key === "Escape") {
      input.value = "";
      look();
      input.blur();
    }
  });
}

// Names that begin so come first, then those that hold it, then operators.
function matches(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const rank = (node) => {
    const name = node.name.toLowerCase();
    if (name === wanted) return 0;
    if (name.startsWith(wanted)) return 1;
    if (name.includes(wanted)) return 2;
    return node.kind.includes(wanted) || node.label.toLowerCase().includes(wanted) ? 3 : 4;
  };
  const { before, after } = view.stop;
  const nodes = view.side === "before" ? before.nodes : view.side === "after" ? after.nodes : merged(before, after);
  return nodes
    .map((node, place) => [rank(node), isPart(node) ? 1 : 0, place, node])
    .filter(([score]) => score < 4)
    .sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2])
    .map((each) => each[3]);
}

function visibleKeys(node) {
  const { drawing } = canvas;
  return drawing.boxes.has(`n${node.id}`) ? [drawing.visible(node.id).key] : [];
}
