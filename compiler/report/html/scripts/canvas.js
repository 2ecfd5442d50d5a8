// The drawing as SVG: what the window shows of it and a margin around, no more; what stays is not drawn anew.

const MARGIN = 0.5; // of the window, drawn beyond each of its sides
const SMALL = 0.35; // scale below which texts would be dots
const READABLE = 0.62; // scale below which one would come closer to read them
const LEAST = 0.02; // scale that no drawing is smaller at
const line = d3.line().curve(d3.curveMonotoneY);

class Canvas {
  constructor(element, on) {
    this.element = element;
    this.on = on;
    this.world = svg("g", { class: "world" });
    this.layers = ["groups", "lines", "boxes"].map((name) => svg("g", { class: name }));
    this.world.append(...this.layers);
    element.append(arrowHeads(), this.world);
    this.drawn = new Map();
    this.drawing = null;
    this.transform = d3.zoomIdentity;
    this.zoom = d3
      .zoom()
      .scaleExtent([LEAST, 3])
      .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey : !event.ctrlKey && !event.button)) // a pinch is ctrl and wheel
      .on("zoom", ({ transform }) => this.moved(transform));
    this.selection = d3.select(element).call(this.zoom).on("dblclick.zoom", null);
    element.addEventListener("wheel", (event) => this.scrolled(event), { passive: false });
  }

  // A wheel moves the drawing as it does any page; with shift, across.
  scrolled(event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) return;
    const unit = [1, 16, this.size[1]][event.deltaMode];
    const [x, y] = event.shiftKey && !event.deltaX ? [event.deltaY, 0] : [event.deltaX, event.deltaY];
    const { k } = this.transform;
    this.selection.interrupt().call(this.zoom.translateBy, (-x * unit) / k, (-y * unit) / k);
  }

  // Where what stands above the drawing ends.
  get top() {
    const tools = this.element.parentElement.querySelector(".tools");
    return tools.offsetTop + tools.offsetHeight + 14;
  }

  get size() {
    const { width, height } = this.element.getBoundingClientRect();
    return [width || 1, height || 1];
  }

  moved(transform) {
    this.transform = transform;
    this.world.setAttribute("transform", transform);
    this.element.classList.toggle("far", transform.k < SMALL);
    if (!this.covered || !within(this.window(0), this.covered)) this.draw();
  }

  // The window in the drawing's own coordinates, with a margin.
  window(margin) {
    const [width, height] = this.size;
    const [x0, y0] = this.transform.invert([-width * margin, -height * margin]);
    const [x1, y1] = this.transform.invert([width * (1 + margin), height * (1 + margin)]);
    return [x0, y0, x1, y1];
  }

  show(drawing) {
    this.drawing = drawing;
    this.draw();
  }

  // Draws all that the window may show; elements that are there by their key are kept, the others go.
  draw() {
    if (!this.drawing) return;
    this.covered = this.window(MARGIN);
    const left = new Map(this.drawn);
    this.drawn.clear();
    const keep = (layer, key, state, make) => {
      const known = left.get(key);
      if (known && known.state === state) {
        left.delete(key);
        this.drawn.set(key, known);
        return;
      }
      const element = make();
      this.layers[layer].append(element);
      this.drawn.set(key, { element, state });
    };
    this.drawBoxes(this.drawing.top, keep);
    for (const each of this.drawing.lines) {
      if (!meets(boundsOf(each), this.covered)) continue;
      const path = line(each.points);
      const key = `l${each.start.key} ${each.end.key}`;
      keep(1, key, `${path}${each.status}`, () => lineElement(each, path, this.on));
    }
    for (const { element } of left.values()) element.remove();
    this.mark();
  }

  drawBoxes(group, keep) {
    for (const box of group.children) {
      if (!meets([box.x, box.y, box.x + box.width, box.y + box.height], this.covered)) continue;
      const state = [
        box.x,
        box.y,
        box.width,
        box.height,
        box.isOpen,
        box.status,
        box.node ? box.node.row : Object.values(box.counts),
        ...(box.node ? [] : [box.was.values, box.was.macs, box.now.values, box.now.macs]),
      ].join();
      keep(box.isOpen ? 0 : 2, box.key, state, () => boxElement(box, this.on));
      if (box.isOpen) this.drawBoxes(box, keep);
    }
  }

  // Shows which boxes are chosen and found.
  mark(chosen = this.chosen, found = this.found) {
    this.chosen = chosen;
    this.found = found;
    for (const [key, { element }] of this.drawn) {
      element.classList.toggle("chosen", key === chosen);
      element.classList.toggle("found", Boolean(found && found.has(key)));
    }
  }

  elementOf(key) {
    const drawn = this.drawn.get(key);
    return drawn && drawn.element;
  }

  // The scale at which all of the drawing is in the window, and that at which it is as wide.
  scales() {
    const { width, height } = this.drawing.top;
    const [w, h] = this.size;
    const across = Math.min(1, (w - 48) / Math.max(width, 1));
    return [Math.max(Math.min(across, (h - this.top - 24) / Math.max(height, 1)), LEAST), across];
  }

  // The whole drawing; with `legible`, as much of its top as can be read.
  fit(moment = 0, legible = false) {
    if (!this.drawing) return;
    const { width, height } = this.drawing.top;
    const [w, h] = this.size;
    const [all, across] = this.scales();
    const scale = legible && all < READABLE ? Math.max(all, Math.min(across, 0.85)) : all;
    const y = Math.max(this.top, this.top + (h - this.top - 24 - height * scale) / 2);
    this.floor();
    this.go(d3.zoomIdentity.translate((w - width * scale) / 2, y).scale(scale), moment);
  }

  // One can go no farther away than to see all with some space around.
  floor() {
    this.zoom.scaleExtent([Math.max(Math.min(this.scales()[0] * 0.8, SMALL), LEAST), 3]);
  }

  flyTo(box, moment = 350) {
    const [w, h] = this.size;
    const scale = Math.min(Math.max(this.transform.k, 0.7), 1.2, Math.max((w - 40) / box.width, 0.3));
    const y = box.height * scale > h * 0.8 ? this.top - box.y * scale : h / 2 - (box.y + box.height / 2) * scale;
    this.go(d3.zoomIdentity.translate(w / 2 - (box.x + box.width / 2) * scale, y).scale(scale), moment);
  }

  go(transform, moment) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (moment && !calm) this.selection.transition().duration(moment).call(this.zoom.transform, transform);
    else this.selection.interrupt().call(this.zoom.transform, transform);
  }

  closer(factor) {
    this.selection.transition().duration(120).call(this.zoom.scaleBy, factor);
  }

  // What is nearest to the middle of the window, to stay there when the drawing changes.
  middle() {
    const [x0, y0, x1, y1] = this.window(0);
    const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
    let best = null,
      least = Infinity;
    const look = (group) => {
      for (const box of group.children) {
        const away = Math.hypot(box.x + box.width / 2 - x, box.y + box.height / 2 - y);
        if (away < least) {
          least = away;
          best = box;
        }
        if (!box.node && box.isOpen) look(box);
      }
    };
    if (this.drawing) look(this.drawing.top);
    return best;
  }
}

const within = (a, b) => a[0] >= b[0] && a[1] >= b[1] && a[2] <= b[2] && a[3] <= b[3];
const meets = (a, b) => a[0] <= b[2] && a[2] >= b[0] && a[1] <= b[3] && a[3] >= b[1];

function boundsOf(each) {
  if (!each.bounds) {
    const xs = each.points.map(([x]) => x),
      ys = each.points.map(([, y]) => y);
    each.bounds = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }
  return each.bounds;
}

function arrowHeads() {
  const head = (name) =>
    svg(
      "marker",
      { id: `head-${name}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto", class: `head ${name}` },
      svg("path", { d: "M0.5,0.8L7.5,4L0.5,7.2z" }),
    );
  return svg("defs", {}, ["same", "came", "gone"].map(head));
}

function lineElement(each, path, on) {
  return svg(
    "g",
    { class: `line ${each.status}`, onpointerenter: (event) => on.hover(each, event), onpointerleave: () => on.leave() },
    svg("path", { class: "reach", d: path }),
    svg("path", { class: "shown", d: path, "marker-end": `url(#head-${each.status})` }),
  );
}

const MARKS = { came: "+", gone: "\u2212", changed: "~" };

function boxElement(box, on) {
  const isGroup = !box.node;
  const classes = ["box", isGroup ? (box.isOpen ? "group open" : "group folded") : `value of-${familyOf(box.node)}`, box.status || ""];
  const made = svg("g", {
    class: classes.join(" "),
    transform: `translate(${box.x},${box.y})`,
    tabindex: 0,
    role: "button",
    "data-key": box.key,
    "aria-label": isGroup
      ? `${box.label}, ${groupFigures(box)}, ${box.isOpen ? "unfolded" : "folded"}`
      : `${box.node.label} ${box.node.name}${box.status === "same" ? "" : `, ${box.status}`}`,
    onclick: (event) => on.click(box, event),
    onpointerenter: (event) => on.hover(box, event),
    onpointerleave: () => on.leave(),
    onfocus: () => on.focus(box),
  });
  made.append(svg("rect", { class: "body", width: box.width, height: box.height, rx: isGroup ? 8 : 5 }));
  if (isGroup) made.append(...groupInside(box));
  else made.append(...valueInside(box));
  return made;
}

// "11 → 10 values · 218M → 93.1M MACs", of one graph, or of two that differ; never a sum over both.
function groupFigures({ was, now }) {
  const values = was.values === now.values ? plural(now.values, "value") : `${whole(was.values)}→${plural(now.values, "value")}`;
  const macs = was.macs === now.macs ? counted(now.macs) : `${counted(was.macs)}→${counted(now.macs)}`;
  return was.macs || now.macs ? `${values} · ${macs} MACs` : values;
}

function groupInside(box) {
  const middle = box.isOpen ? 20 : 23;
  const changes = ["gone", "came", "changed"].filter((what) => box.counts[what]).map((what) => [what, MARKS[what] + box.counts[what]]);
  const badges = svg("text", { class: "badges", x: box.width - 10, y: middle });
  changes.forEach(([what, text], i) => badges.append(svg("tspan", { class: what, dx: i ? 6 : 0 }, text)));
  const room = box.width - 44 - d3.sum(changes, ([, text]) => 7.4 * text.length + 6);
  const inside = [
    svg("text", { class: "fold", x: 12, y: middle }, box.isOpen ? "\u25be" : "\u25b8"),
    svg("text", { class: "label", x: 28, y: middle }, shortened(box.label, Math.max(Math.floor(room / 7.8), 5))),
    badges,
  ];
  if (!box.isOpen) {
    inside.push(svg("text", { class: "under", x: 28, y: 42 }, groupFigures(box)));
  }
  return inside;
}

function valueInside(box) {
  const { node } = box;
  const shape = shortened(shapeOf(node.type), 16);
  const mark = MARKS[box.status] || "";
  return [
    svg("rect", { class: "stripe", width: 4, height: box.height, rx: 2 }),
    svg("text", { class: "label", x: 14, y: 18 }, shortened(node.label, Math.floor((box.width - 32 - shape.length * 6.7) / 8.8))),
    svg("text", { class: "shape", x: box.width - 10, y: 18 }, shape),
    svg("text", { class: "under", x: 14, y: 35 }, shortened(node.name, mark ? 23 : 26)),
    svg("text", { class: "mark", x: box.width - 10, y: 36 }, mark),
  ];
}

function familyOf(node) {
  if (node.kind === "input" || node.kind === "param") return "leaf";
  if (node.macs > 0) return "product";
  if (/norm/.test(node.kind)) return "norm";
  if (/pool/.test(node.kind)) return "pool";
  if (node.moved === 0) return "alias";
  return node.elements && node.moved <= 3 * node.bytes && node.operands.length === 1 ? "pointwise" : "other";
}
