// Charts: what each layer takes, memory over time, where the roofline lies, what passes took, and a plan's frontier.

const WIDE = 960; // of every chart, in its own units

function startCharts() {
  const view = document.getElementById("view-charts");
  const sides = report.layers.length > 1 ? ["Before", "After"] : ["As it is"];
  const strips = el("div", { class: "strips" });
  const show = (place) => {
    strips.replaceChildren(...layerStrips(report.layers[place]));
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === place)));
  };
  const buttons = sides.map((side, place) => el("button", { onclick: () => show(place) }, side));
  const parts = [];
  if (report.layers.length) {
    parts.push(
      figure(
        "What each layer takes",
        "A bar a layer, from input to output. Point at one for its figures; click to see it in the graph.",
        sides.length > 1 ? el("div", { class: "segments", role: "group", "aria-label": "Before or after" }, ...buttons) : null,
        strips,
      ),
    );
    show(report.layers.length - 1);
  }
  parts.push(...memoryFigures(), rooflineFigure(), timesFigure(), frontierFigure());
  view.replaceChildren(...parts.filter(Boolean));
  if (!view.children.length) view.append(el("p", { class: "empty" }, "There is nothing to draw: the graph has no types."));
}

function figure(title, caption, ...content) {
  return el("figure", {}, el("figcaption", {}, el("h2", {}, title), caption ? el("p", { class: "muted" }, caption) : null), ...content);
}

const STRIPS = [
  ["Multiply-adds", "macs", ([, , , , , , , macs]) => macs, counted],
  ["Parameters", "params", ([, , , , , weights, biases]) => weights + biases, counted],
  ["Activation memory", "memory", ([, , , , bytes]) => bytes, inBytes],
];

function layerStrips(table) {
  const lines = table.lines.filter((each) => STRIPS.some(([, , of]) => of(each)));
  return STRIPS.map(([title, kind, of, words]) => {
    const values = lines.map(of).map((value) => (typeof value === "number" ? value : 0));
    const total = d3.sum(values);
    return el(
      "div",
      { class: "strip" },
      el("h3", {}, title, " ", el("span", { class: "muted" }, `${words(total)} in all${total ? `; ${halfOf(lines, values)}` : ""}`)),
      strip(lines, values, kind, words),
    );
  });
}

// "half of it in the first 9 of 71 layers", whichever end is shorter.
function halfOf(lines, values) {
  const total = d3.sum(values);
  const reach = (list) => {
    let sum = 0;
    return (
      list.findIndex((value) => {
        sum += value;
        return sum >= total / 2;
      }) + 1
    );
  };
  const first = reach(values),
    last = reach([...values].reverse());
  const [count, end] = first <= last ? [first, "first"] : [last, "last"];
  return `half of it in the ${end} ${count === 1 ? "" : `${count} `}of ${plural(lines.length, "layer")}`;
}

function strip(lines, values, kind, words) {
  const height = 92,
    base = height - 2,
    left = 64;
  const x = d3.scaleLinear([0, Math.max(values.length, 1)], [left, WIDE]);
  const most = d3.max(values) || 1;
  const y = d3.scaleLinear([0, most], [base, 6]);
  const width = x(1) - x(0);
  const bars = values.map((value, i) =>
    value
      ? svg("rect", {
          class: "bar",
          x: x(i) + Math.min(width * 0.1, 1),
          width: Math.max(width - Math.min(width * 0.2, 2), 0.5),
          y: y(value),
          height: base - y(value),
        })
      : null,
  );
  const shadow = svg("rect", { class: "pointed", y: 0, height, width: Math.max(width, 1), visibility: "hidden" });
  const label = svg("text", { class: "value", y: 12 });
  const picture = svg(
    "svg",
    { class: `chart ${kind}`, viewBox: `0 0 ${WIDE} ${height}`, role: "img", "aria-label": `${kind} of each layer` },
    ...axis(y, words === inBytes ? byteTicks(y, 2) : y.ticks(2), words, left),
    shadow,
    ...bars,
    svg("line", { class: "base", x1: left, x2: WIDE, y1: base, y2: base }),
    label,
  );
  const place = (event) => Math.floor(x.invert(d3.pointer(event, picture)[0]));
  picture.addEventListener("pointermove", (event) => {
    const i = place(event);
    if (!lines[i]) return;
    shadow.setAttribute("x", x(i));
    shadow.setAttribute("visibility", "visible");
    label.textContent = `${shortened(report.names[lines[i][0]], 40)}  ${lines[i][1]}  ${words(values[i])}`;
    const isRight = x(i) > WIDE / 2;
    label.setAttribute("x", isRight ? x(i) - 6 : x(i) + width + 6);
    label.setAttribute("text-anchor", isRight ? "end" : "start");
  });
  picture.addEventListener("pointerleave", () => {
    shadow.setAttribute("visibility", "hidden");
    label.textContent = "";
  });
  picture.addEventListener("click", (event) => {
    const found = lines[place(event)];
    if (found) flyAfter(found[0]);
  });
  return picture;
}

// Lines across, with what they stand for.
function axis(y, ticks, words, left, right = WIDE) {
  return ticks
    .filter((tick) => tick)
    .flatMap((tick) => [
      svg("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, words(tick)),
    ]);
}

// To a value of the graph as it came out, or where it is gone of the one that came in.
function flyAfter(id) {
  if (view.stop.number) goTo(0);
  fly(id);
}

function timesFigure() {
  const steps = report.steps.map((step, place) => ({ ...step, seconds: report.measured.seconds[place] })).filter((step) => step.seconds > 0);
  if (!steps.length) return null;
  const most = d3.max(steps, (step) => step.seconds);
  const row = 20,
    left = 150,
    right = WIDE - 90;
  const x = d3.scaleLinear([0, most], [left, right]);
  const bars = steps.flatMap((step, i) => [
    svg("text", { class: "name", x: left - 8, y: i * row + 14, "text-anchor": "end" }, step.pass),
    svg("rect", {
      class: step.rewrites.length ? "bar" : "bar idle",
      x: left,
      y: i * row + 4,
      height: row - 8,
      width: Math.max(x(step.seconds) - left, 1),
    }),
    svg("text", { class: "tick", x: x(step.seconds) + 6, y: i * row + 14 }, inSeconds(step.seconds)),
  ]);
  return figure(
    "Time of each pass",
    `${inSeconds(d3.sum(steps, (step) => step.seconds))} in all, as measured when this report was made: another one has other times. Passes that changed something are dark.`,
    svg(
      "svg",
      { class: "chart times", viewBox: `0 0 ${WIDE} ${steps.length * row + 6}`, role: "img", "aria-label": "time of each pass" },
      ...bars,
    ),
  );
}

// Williams, Waterman & Patterson 2009: what a layer may reach at its intensity, and where it was timed what it did reach.
function rooflineFigure() {
  const points = peaks ? roofPoints() : [];
  if (!points.length) return null;
  const height = 300,
    left = 64,
    base = height - 34;
  const reach = (intensity) => Math.min(peaks.flops, intensity * peaks.bytes);
  const ridge = peaks.flops / peaks.bytes;
  const [low, high] = [
    Math.min(
      d3.min(points, (p) => p.intensity),
      ridge / 4,
    ) / 1.5,
    Math.max(
      d3.max(points, (p) => p.intensity),
      ridge * 4,
    ) * 1.5,
  ];
  const x = d3.scaleLog([low, high], [left, WIDE - 12]);
  const y = d3.scaleLog(
    [
      Math.min(
        d3.min(points, (p) => p.speed),
        reach(low),
      ) / 1.6,
      peaks.flops * 1.8,
    ],
    [base, 8],
  );
  const speed = (flops) => `${trimmed(flops / 1e9)} GF/s`;
  const most = d3.max(points, (p) => p.flops);
  const dots = points.map((p) =>
    svg(
      "circle",
      {
        class: p.timed ? "dot timed" : "dot",
        cx: x(p.intensity),
        cy: y(p.speed),
        r: 2.5 + 7 * Math.sqrt(p.flops / most),
        onclick: () => flyAfter(p.id),
      },
      svg("title", {}, `${p.engine || ""}${report.names[p.id]}: ${trimmed(p.intensity)} FLOP a byte, ${speed(p.speed)}`),
    ),
  );
  const decades = (scale) => scale.ticks().filter((tick) => Number.isInteger(Math.round(Math.log10(tick) * 1e6) / 1e6));
  const grid = [
    ...decades(y).flatMap((tick) => [
      svg("line", { class: "grid", x1: left, x2: WIDE - 12, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, speed(tick).replace("/s", "")),
    ]),
    ...decades(x).map((tick) => svg("text", { class: "tick", x: x(tick), y: base + 16, "text-anchor": "middle" }, trimmed(tick))),
    svg("text", { class: "tick", x: (left + WIDE) / 2, y: height - 2, "text-anchor": "middle" }, "FLOP a byte moved"),
  ];
  const roof = svg("path", {
    class: "roof",
    d: d3.line()([
      [x(low), y(reach(low))],
      [x(ridge), y(peaks.flops)],
      [x(high), y(peaks.flops)],
    ]),
  });
  const timed = points.some((p) => p.timed);
  return figure(
    "Roofline",
    `${speed(peaks.flops)} and ${trimmed(peaks.bytes / 1e9)} GB/s, ${peaks.how}. ${timed ? "Dots are kernels as they were timed" : "Dots on the roof are what layers could reach"}; the larger, the more arithmetic.`,
    svg(
      "svg",
      { class: "chart roofline", viewBox: `0 0 ${WIDE} ${height}`, role: "img", "aria-label": "roofline" },
      ...grid,
      roof,
      ...dots,
    ),
  );
}

function roofPoints() {
  const timed = profiles.flatMap(([engine, kernels]) =>
    kernels
      .filter((k) => k.products && k.bytes && k.microseconds)
      .map((k) => ({
        id: k.nodes[k.nodes.length - 1],
        engine: profiles.length > 1 ? `${engine}, ` : "",
        intensity: (2 * k.products) / k.bytes,
        speed: ((2 * k.products) / k.microseconds) * 1e6,
        flops: 2 * k.products,
        timed: true,
      })),
  );
  if (timed.length) return timed;
  const { flops, bytes } = peaks;
  return lastGraph.nodes
    .filter((node) => node.macs && node.moved)
    .map((node) => ({
      id: node.id,
      intensity: node.flops / node.moved,
      speed: Math.min(flops, (bytes * node.flops) / node.moved),
      flops: node.flops,
    }));
}

const COSTS = { macs: "multiply-adds", params: "parameters" };

// What is left of the cost against the error that is predicted, and the plan on it.
function frontierFigure() {
  const { frontier } = report;
  if (!frontier) return null;
  const height = 300,
    left = 64,
    base = height - 40,
    right = WIDE - 150;
  const all = [...frontier.curve, ...frontier.marks.map(([, point]) => point)];
  const x = d3.scaleLinear(
    [
      0,
      Math.max(
        1,
        d3.max(all, (point) => point[0]),
      ),
    ],
    [left, right],
  );
  const y = d3.scaleLinear([0, (d3.max(all, (point) => point[1]) || 1) * 1.08], [base, 8]);
  const grid = [
    ...axis(y, y.ticks(5), (tick) => trimmed(tick), left, right),
    ...x.ticks(6).map((tick) => svg("text", { class: "tick", x: x(tick), y: base + 18, "text-anchor": "middle" }, percent(tick))),
  ];
  const curve = svg("path", { class: "roof", d: d3.line()(frontier.curve.map(([a, b]) => [x(a), y(b)])) });
  const marks = frontier.marks.flatMap(([name, [a, b]]) => [
    svg("circle", { class: "dot timed", cx: x(a), cy: y(b), r: 5 }),
    svg("text", { class: "name", x: x(a) + 10, y: y(b) - 6 }, name),
  ]);
  return figure(
    "Frontier of plans",
    `Predicted relative error of the outputs against the share of ${COSTS[frontier.cost] || frontier.cost} that is left; the dots are the plan.`,
    svg(
      "svg",
      { class: "chart frontier", viewBox: `0 0 ${WIDE} ${height}`, role: "img", "aria-label": "frontier of plans" },
      ...grid,
      svg("line", { class: "base", x1: left, x2: right, y1: base, y2: base }),
      curve,
      ...marks,
    ),
  );
}
