// Sorts and filters what the page holds; adds nothing to it. Without this script everything is still there.
"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const text = (element) => element.textContent.trim().toLocaleLowerCase("en");

  // Numbers first, in their order; words behind them, in theirs. Neither direction moves words in front of numbers.
  const compare = (a, b, sign) => {
    const [x, y] = [a.dataset.sort, b.dataset.sort];
    if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
    if (x !== undefined || y !== undefined) return x !== undefined ? -1 : 1;
    return sign * text(a).localeCompare(text(b), "en", { numeric: true });
  };

  const sortTable = (table, column, sign) => {
    const body = table.tBodies[0];
    const blocks = [[]];
    for (const row of Array.from(body.rows)) {
      if (row.classList.contains("group")) blocks.push([row]);
      else blocks[blocks.length - 1].push(row);
    }
    for (const block of blocks) {
      const head = block.length && block[0].classList.contains("group") ? [block.shift()] : [];
      const inOrder = sign === 0
        ? block.sort((a, b) => a.dataset.place - b.dataset.place)
        : block.sort((a, b) => compare(a.cells[column], b.cells[column], sign) || a.dataset.place - b.dataset.place);
      body.append(...head, ...inOrder);
    }
  };

  const makeSortable = (table) => {
    const rows = Array.from(table.tBodies[0].rows);
    const heads = Array.from(table.tHead.rows[0].cells);
    const plain = rows.filter((row) => !row.classList.contains("group"));
    if (plain.length < 3 || plain.some((row) => row.cells.length !== heads.length)) return;
    rows.forEach((row, place) => { row.dataset.place = place; });
    heads.forEach((head, column) => {
      const title = head.textContent.trim();
      if (!title) return;
      const button = make("button", { type: "button", className: "sort" }, title);
      button.addEventListener("click", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
        heads.filter((other) => other.hasAttribute("aria-sort")).forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", next);
        sortTable(table, column, { none: 0, ascending: 1, descending: -1 }[next]);
      });
      head.setAttribute("aria-sort", "none");
      head.replaceChildren(button);
    });
  };

  // One line of tools per section: words, outcome, and kind of case, as far as the section has them.
  const chooser = (label, options, onChange) => {
    const select = make("select", {}, make("option", { value: "" }, "all"));
    options.forEach((option) => select.append(make("option", { value: option }, option)));
    select.addEventListener("change", onChange);
    return [make("label", {}, label + " ", select), select];
  };

  const makeFilter = (section) => {
    const rows = all("table.data tbody tr:not(.group)", section);
    const cases = all("g.case", section);
    const verdicts = [...new Set(all("td.k-verdict", section).map((cell) => cell.textContent.trim()))].filter(Boolean).sort();
    if (rows.length < 8 && cases.length < 2 && verdicts.length < 2) return;
    const kinds = [...new Set(cases.map((one) => one.dataset.kind))].filter(Boolean);
    const said = make("span", { className: "count" });
    said.setAttribute("role", "status");
    const input = make("input", { type: "search", autocomplete: "off", spellcheck: false });
    const apply = () => {
      const words = input.value.toLocaleLowerCase("en").split(/\s+/).filter(Boolean);
      const matches = (content) => words.every((word) => content.includes(word));
      let shown = 0;
      let group = "";
      for (const row of all("table.data tbody tr", section)) {
        if (row.classList.contains("group")) {
          group = text(row);
          row.classList.remove("off");
          continue;
        }
        const good = matches(group + " " + text(row))
          && (!outcome || !outcome.value || all("td.k-verdict", row).some((cell) => cell.textContent.trim() === outcome.value));
        row.classList.toggle("off", !good);
        shown += good ? 1 : 0;
      }
      for (const table of all("table.data", section)) {
        let open = null;
        for (const row of table.tBodies[0].rows) {
          if (row.classList.contains("group")) {
            if (open) open.classList.add("off");
            open = row;
          } else if (!row.classList.contains("off")) open = null;
        }
        if (open) open.classList.add("off");
      }
      let pictures = 0;
      for (const one of cases) {
        const good = matches(text(one)) && (!kind || !kind.value || one.dataset.kind === kind.value);
        one.classList.toggle("off", !good);
        pictures += good ? 1 : 0;
      }
      for (const figure of all("figure", section)) {
        const inside = all("g.case", figure);
        figure.classList.toggle("off", inside.length > 0 && inside.every((one) => one.classList.contains("off")));
      }
      const parts = [];
      if (rows.length) parts.push(shown + " of " + rows.length + " rows");
      if (cases.length) parts.push(pictures + " of " + cases.length + " pictures");
      said.textContent = "Showing " + parts.join(", ");
    };
    let outcome = null;
    let kind = null;
    const tools = make("div", { className: "tools" }, make("label", {}, "Filter this section ", input));
    if (verdicts.length > 1) {
      const [label, select] = chooser("Outcome", verdicts, apply);
      outcome = select;
      tools.append(label);
    }
    if (kinds.length > 1) {
      const [label, select] = chooser("Cases", kinds, apply);
      kind = select;
      tools.append(label);
    }
    const clear = make("button", { type: "button" }, "Show all");
    clear.addEventListener("click", () => {
      input.value = "";
      [outcome, kind].filter(Boolean).forEach((select) => { select.value = ""; });
      apply();
      input.focus();
    });
    input.addEventListener("input", apply);
    tools.append(clear, said);
    section.querySelector("h2").after(tools);
    apply();
  };

  // Where the pointer is on a curve: the nearest of its points, in the figure's own units.
  const makeReadable = (svg) => {
    const curves = all("path[data-frame]", svg).map((path) => {
      const [left, top, width, height, x0, x1, y0, y1] = path.dataset.frame.split(" ").map(Number);
      const points = path.getAttribute("d").match(/-?[\d.]+ -?[\d.]+/g).map((pair) => pair.split(" ").map(Number));
      return { path, left, top, width, height, x0, x1, y0, y1, points };
    });
    if (!curves.length) return;
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("r", "3.4");
    dot.setAttribute("class", "here off");
    const tip = make("p", { className: "tip off" });
    tip.setAttribute("aria-hidden", "true");
    svg.append(dot);
    svg.after(tip);
    const hide = () => [dot, tip].forEach((one) => one.classList.add("off"));
    svg.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let best = null;
      for (const curve of curves) {
        for (const point of curve.points) {
          const away = Math.hypot(point[0] - at.x, point[1] - at.y);
          if (!best || away < best.away) best = { away, point, curve };
        }
      }
      if (!best || best.away > 40) return hide();
      const { curve, point } = best;
      const x = curve.x0 + (point[0] - curve.left) / curve.width * (curve.x1 - curve.x0);
      const y = curve.y1 - (point[1] - curve.top) / curve.height * (curve.y1 - curve.y0);
      dot.setAttribute("cx", point[0]);
      dot.setAttribute("cy", point[1]);
      tip.textContent = curve.path.dataset.x + " " + x.toFixed(3) + ", " + curve.path.dataset.y + " " + y.toFixed(3);
      [dot, tip].forEach((one) => one.classList.remove("off"));
    });
    svg.addEventListener("pointerleave", hide);
  };

  all("table.data").forEach(makeSortable);
  all("section.summary, section.part").forEach(makeFilter);
  all("figure svg").forEach(makeReadable);
  window.addEventListener("beforeprint", () => all("details").forEach((one) => { one.open = true; }));
})();
