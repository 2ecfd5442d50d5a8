// Memory over the steps of a run: every buffer as a rectangle, from when to when it is in use and where in the arena it lies.

function memoryFigures() {
  const plans = report.memory
    .map((plan, place) => [plan, report.memory.length > 1 ? ["before", "after"][place] : "as it is"])
    .filter(([plan]) => plan && plan.slots.length);
  if (!plans.length) return [];
  const top = d3.max(plans, ([plan]) => plan.arena) || 1;
  return [
    figure(
      "Memory over time",
      "A rectangle a buffer: across the steps that it is in use, at its offset in the arena. What is computed in place, or is a view, lies in its operand's.",
      ...plans.map(([plan, side]) => memoryPicture(plan, side, top)),
    ),
  ];
}

function memoryPicture(plan, side, top) {
  const height = 220,
    left = 64,
    base = height - 18;
  const x = d3.scaleLinear([0, Math.max(plan.steps.length, 1)], [left, WIDE]);
  const y = d3.scaleLinear([0, top], [base, 8]);
  const words = svg("text", { class: "value", x: left + 4, y: height - 4 });
  const slots = plan.slots
    .filter(([, , , size]) => size)
    .map(([first, last, offset, size, values]) => {
      const node = lastGraph.byId.get(values[0]) || graphs[0].byId.get(values[0]);
      return svg("rect", {
        class: `slot of-${node ? familyOf(node) : "other"}`,
        x: x(first),
        width: Math.max(x(last + 1) - x(first), 0.8),
        y: y(offset + size),
        height: Math.max(y(offset) - y(offset + size), 0.4),
        onpointerenter: () => {
          words.textContent = `${shortened(values.map((id) => report.names[id]).join(", "), 70)}: ${inBytes(size)} at ${inBytes(offset)}, steps ${first + 1} to ${last + 1}`;
        },
        onpointerleave: () => {
          words.textContent = "";
        },
        onclick: () => flyAfter(values[0]),
      });
    });
  const gap = plan.arena - plan.bound;
  const title = el(
    "h3",
    {},
    side[0].toUpperCase() + side.slice(1),
    " ",
    el(
      "span",
      { class: "muted" },
      `${inBytes(plan.arena)} of arena, ${gap ? `${inBytes(gap)} above` : "no more than"} what is live at the fullest step; ${inBytes(plan.unshared)} if nothing were shared; ${plan.why}`,
    ),
  );
  return el(
    "div",
    { class: "strip" },
    title,
    svg(
      "svg",
      { class: "chart memory", viewBox: `0 0 ${WIDE} ${height}`, role: "img", "aria-label": `memory ${side}` },
      ...axis(y, byteTicks(y, 4), inBytes, left),
      ...slots,
      svg("line", { class: "base", x1: left, x2: WIDE, y1: base, y2: base }),
      words,
    ),
  );
}
