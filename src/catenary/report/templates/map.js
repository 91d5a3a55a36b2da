"use strict";
(() => {
  const one = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const data = JSON.parse(one("data").textContent);
  const [stage, sheets, chosen, card, swipe, line] = ["stage", "sheets", "chosen", "card", "swipe", "line"].map(one);
  const box = one("map").viewBox.baseVal;
  const whole = { x: box.x, y: box.y, w: box.width };
  const aspect = box.width / box.height;
  const nearest = 16; // width of the closest view in units
  const many = data.rows.flat().length > data.few; // then outlines are drawn when the view rests, those in it only
  let view = { ...whole };
  let drawn = view;
  let [waiting, rest] = [false, 0];
  document.documentElement.classList.add("js");

  // Views: x, y and width in units of the map; the height follows from the aspect.

  function draw() {
    waiting = false;
    clearTimeout(rest);
    if (!many) settle();
    else {
      const share = stage.clientWidth / view.w;
      const [x, y] = [(drawn.x - view.x) * share, (drawn.y - view.y) * share];
      for (const sheet of all(".sheet")) sheet.style.transform = `translate(${x}px, ${y}px) scale(${drawn.w / view.w})`;
      rest = setTimeout(settle, 150);
    }
    const metres = (view.w * data.metres) / 4;
    const power = 10 ** Math.floor(Math.log10(metres));
    const bar = ([5, 2].find((step) => step * power <= metres) ?? 1) * power;
    one("bar").style.width = `${(100 * bar) / data.metres / view.w}%`;
    one("bar").textContent = bar >= 1000 ? `${bar / 1000} km` : `${+bar.toPrecision(1)} m`;
    sheets.style.touchAction = view.w < whole.w ? "none" : "pan-y"; // with all in view a finger may scroll the page
  }

  function settle() {
    const pixel = view.w / Math.max(1, stage.clientWidth);
    drawn = view;
    for (const sheet of all(".sheet")) {
      sheet.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.w / aspect}`);
      sheet.style.transform = "";
    }
    for (const pattern of all("#map pattern")) pattern.setAttribute("patternTransform", `scale(${pixel * pattern.dataset.unit})`);
    one("map").style.setProperty("--pixel", pixel);
    if (many) cull();
  }

  function go(x, y, w) {
    w = Math.min(whole.w, Math.max(nearest, w));
    const [width, height] = data.size;
    // The middle stays on the map.
    view = {
      w,
      x: Math.min(width, Math.max(0, x + w / 2)) - w / 2,
      y: Math.min(height, Math.max(0, y + w / aspect / 2)) - w / aspect / 2,
    };
    if (w === whole.w) view = { ...whole };
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  function place(x, y) {
    const b = stage.getBoundingClientRect();
    return [view.x + ((x - b.left) / b.width) * view.w, view.y + ((y - b.top) / b.height) * (view.w / aspect)];
  }

  function zoom(factor, [x, y] = middle()) {
    const w = Math.min(whole.w, Math.max(nearest, view.w / factor));
    const k = w / view.w;
    go(x - (x - view.x) * k, y - (y - view.y) * k, w);
  }

  const middle = () => [view.x + view.w / 2, view.y + view.w / aspect / 2];

  // Longitude and latitude, evenly between the nodes of a lattice.

  function degrees([x, y]) {
    const n = data.nodes - 1;
    const [u, v] = [(x / data.size[0]) * n, (y / data.size[1]) * n];
    if (u < 0 || v < 0 || u > n || v > n) return null;
    const [i, j] = [Math.min(n - 1, Math.floor(u)), Math.min(n - 1, Math.floor(v))];
    const at = (r, c, part) => data.lattice[r * data.nodes + c][part];
    const [lon, lat] = [0, 1].map((part) => {
      const corners = [at(j, i, part), at(j, i + 1, part), at(j + 1, i, part), at(j + 1, i + 1, part)];
      if (corners.includes(null)) return NaN;
      const top = corners[0] + (u - i) * (corners[1] - corners[0]);
      return top + (v - j) * (corners[2] + (u - i) * (corners[3] - corners[2]) - top);
    });
    return Number.isFinite(lon) ? [((lon + 540) % 360) - 180, lat] : null;
  }

  const told = (found) => (found ? `lon ${found[0].toFixed(6)}, lat ${found[1].toFixed(6)}` : "lon –, lat –");

  // Buildings: the outlines of a grade are the lines of one path, with a row of numbers for each.

  let known = null;
  function buildings() {
    known ??= all("#outlines path").flatMap((path) =>
      path.getAttribute("d").split("\n").map((d, index) => {
        const rings = d.split("z").slice(0, -1).map((text) => {
          let [x, y] = [0, 0];
          return text.slice(1).split(/[l ]/).map(Number).reduce((ring, step, i, steps) => {
            if (i % 2) ring.push([(x += steps[i - 1]), (y += step)]);
            return ring;
          }, []);
        });
        const [x, y] = [0, 1].map((axis) => rings.flat().map((corner) => corner[axis]));
        return { path, d, index, rings, box: [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)] };
      })
    );
    return known;
  }

  function cull() {
    const [left, top, right, bottom] = [view.x, view.y, view.x + view.w, view.y + view.w / aspect].map((edge) => 10 * edge);
    const seen = buildings().filter(({ box }) => box[0] < right && box[2] > left && box[1] < bottom && box[3] > top);
    one("outlines").classList.toggle("many", seen.length > data.few);
    for (const path of all("#outlines path"))
      path.setAttribute("d", seen.filter((building) => building.path === path).map(({ d }) => d).join(""));
  }

  function holds({ rings }, x, y) {
    let inside = false;
    for (const ring of rings)
      ring.forEach(([x1, y1], i) => {
        const [x2, y2] = ring[(i + 1) % ring.length];
        if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) inside = !inside;
      });
    return inside;
  }

  function describe(building) {
    const grade = +building.path.dataset.grade;
    const [id, lon, lat, unsure, confidence, area, ...shares] = data.rows[grade][building.index];
    const rows = [["Confidence", confidence === null ? "–" : confidence.toFixed(2)]];
    rows.push(["Area", area === null ? "–" : `${area.toFixed(area < 100 ? 1 : 0)} m²`]);
    shares.forEach((share, i) => share && rows.push([data.names[i + 1], `${Math.round(100 * share)} %`]));
    if (unsure) rows.push(["Alignment", "unsure here"]);
    rows.push(["Place", told([lon, lat])], ["Feature", id]);
    one("card-title").textContent = data.names[grade];
    one("card-list").replaceChildren(
      ...rows.flatMap((row) => row.map((text, i) => Object.assign(document.createElement(i ? "dd" : "dt"), { textContent: text })))
    );
    chosen.setAttribute("d", building.d);
    card.hidden = false;
  }

  function forget() {
    chosen.setAttribute("d", "");
    card.hidden = true;
  }

  // The building at a place in the map's units, or the nearest within some pixels of it.
  function pick(at) {
    const [x, y] = at.map((part) => 10 * part);
    const reach = (90 * view.w) / stage.clientWidth;
    let [found, least] = [null, reach];
    for (const building of buildings()) {
      const [left, top, right, bottom] = building.box;
      const gap = Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
      if (gap > reach || building.path.style.display === "none") continue;
      const distance = !gap && holds(building, x, y) ? -1 : gap;
      if (distance <= least) [found, least] = [building, distance];
    }
    if (found) describe(found);
    else forget();
  }

  // Mouse, pen and touch: one finger moves, two zoom, a tap asks.

  const fingers = new Map();
  let moved = 0;
  const spot = () => {
    const points = [...fingers.values()];
    const x = points.reduce((sum, p) => sum + p[0], 0) / points.length;
    const y = points.reduce((sum, p) => sum + p[1], 0) / points.length;
    return { x, y, spread: points.length > 1 ? Math.hypot(points[0][0] - points[1][0], points[0][1] - points[1][1]) : 0 };
  };
  sheets.addEventListener("pointerdown", (event) => {
    sheets.setPointerCapture(event.pointerId);
    if (!fingers.size) moved = 0;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  sheets.addEventListener("pointermove", (event) => {
    if (!fingers.size) one("where").textContent = told(degrees(place(event.clientX, event.clientY)));
    if (!fingers.has(event.pointerId)) return;
    const before = spot();
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const after = spot();
    moved += Math.hypot(after.x - before.x, after.y - before.y) + Math.abs(after.spread - before.spread);
    const [from, to] = [place(before.x, before.y), place(after.x, after.y)];
    go(view.x + from[0] - to[0], view.y + from[1] - to[1], view.w);
    if (before.spread && after.spread) zoom(after.spread / before.spread, place(after.x, after.y));
  });
  const lift = (event) => {
    if (fingers.delete(event.pointerId) && !fingers.size && moved < 5 && event.type === "pointerup")
      pick(place(event.clientX, event.clientY));
  };
  sheets.addEventListener("pointerup", lift);
  sheets.addEventListener("pointercancel", lift);
  sheets.addEventListener("dblclick", (event) => zoom(2, place(event.clientX, event.clientY)));
  sheets.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(1.0015 ** -event.deltaY, place(event.clientX, event.clientY));
    },
    { passive: false }
  );

  // Keys.

  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  stage.addEventListener("keydown", (event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = step[event.key];
    if (by) go(view.x + (by[0] * view.w) / 10, view.y + (by[1] * view.w) / 10, view.w);
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") go(whole.x, whole.y, whole.w);
    else if (event.key === "Escape") forget();
    else if (event.key === "Enter") pick(middle());
    else return;
    event.preventDefault();
    one("where").textContent = told(degrees(middle()));
  });

  // Swipe, layers, grades, buttons.

  if (swipe) {
    const slide = () => {
      line.style.left = `${swipe.value}%`;
      one("newer").style.clipPath = `inset(0 0 0 ${swipe.value}%)`;
    };
    swipe.addEventListener("input", slide);
    line.addEventListener("pointerdown", (event) => line.setPointerCapture(event.pointerId));
    line.addEventListener("pointermove", (event) => {
      if (!line.hasPointerCapture(event.pointerId)) return;
      const b = stage.getBoundingClientRect();
      swipe.value = (100 * (event.clientX - b.left)) / b.width;
      slide();
    });
    slide();
  }
  for (const slider of all("input[data-layer]")) {
    const show = () => {
      const layer = one(slider.dataset.layer);
      layer.style.opacity = slider.value / 100;
      layer.style.visibility = +slider.value ? "visible" : "hidden";
      slider.nextElementSibling.textContent = `${slider.value} %`;
    };
    slider.addEventListener("input", show);
    show();
  }
  for (const box of all("input[data-grade]")) {
    const show = () => all(`.grade-${box.dataset.grade}`).forEach((layer) => (layer.style.display = box.checked ? "" : "none"));
    box.addEventListener("change", show);
    show();
  }
  one("closer").addEventListener("click", () => zoom(1.5));
  one("farther").addEventListener("click", () => zoom(1 / 1.5));
  one("fit").addEventListener("click", () => go(whole.x, whole.y, whole.w));
  one("close").addEventListener("click", () => {
    forget();
    stage.focus();
  });
  for (const button of all("button[data-at]"))
    button.addEventListener("click", () => {
      const [x, y] = button.dataset.at.split(" ").map(Number);
      const w = Math.min(whole.w, Math.max(60, 200 / data.metres));
      go(x - w / 2, y - w / aspect / 2, w);
      const [grade, index] = button.dataset.path.split(" ");
      const building = buildings().find((one) => one.path.dataset.grade === grade && `${one.index}` === index);
      if (building) describe(building);
      else {
        forget();
        chosen.setAttribute("d", `M${10 * x - 60} ${10 * y}h120M${10 * x} ${10 * y - 60}v120`);
      }
      stage.scrollIntoView({ block: "center" });
      stage.focus({ preventScroll: true });
    });
  const copy = one("copy");
  if (copy)
    copy.addEventListener("click", async () => {
      const text = one("csv");
      try {
        await navigator.clipboard.writeText(text.value);
      } catch {
        text.closest("details").open = true;
        text.select();
        document.execCommand("copy");
      }
      one("copied").textContent = "Copied.";
    });
  new ResizeObserver(() => (settle(), draw())).observe(stage);
})();
