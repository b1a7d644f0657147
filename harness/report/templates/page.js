// The page's own script: filters, keys, and the charts of a case when it is opened. Text from cases only ever becomes
// text: nothing here writes HTML, and ECharts draws on a canvas.
"use strict";
(() => {
  const all = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const rows = [...byId("cases").tBodies[0].rows];
  const articles = [...document.querySelectorAll("article.case")];
  const overviewTitle = document.title;

  // Filters

  const filter = byId("filter");
  const [text, kind, target, tag] = ["text", "kind", "target", "tag"].map(byId);

  function isWanted(row) {
    const words = text.value.toLowerCase().split(/\s+/);
    const cells = [...row.cells].slice(1).filter((cell) => !target.value || cell.dataset.target === target.value);
    return words.every((word) => row.cells[0].textContent.toLowerCase().includes(word))
      && (!kind.value || cells.some((cell) => cell.dataset.kind === kind.value))
      && (!tag.value || row.dataset.tags.split(" ").includes(tag.value));
  }

  function applyFilter() {
    let shown = 0;
    for (const row of rows) {
      row.hidden = !isWanted(row);
      shown += !row.hidden;
    }
    for (const cell of byId("cases").querySelectorAll("[data-target]")) {
      cell.hidden = Boolean(target.value) && cell.dataset.target !== target.value;
    }
    byId("count").textContent = `${shown} of ${rows.length} cases`;
  }

  filter.hidden = false;
  filter.addEventListener("input", applyFilter);
  filter.addEventListener("submit", (event) => event.preventDefault());
  applyFilter();

  // Charts

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const SYMBOLS = ["circle", "rect", "triangle", "diamond", "roundRect"];
  const DASHES = ["solid", "dashed", "dotted", [8, 3, 2, 3], [2, 6]];
  const COLOURS = { false: ["#0550ae", "#b35900", "#116329", "#7a1fa2", "#5c4a00"], true: ["#79b8ff", "#ffb366", "#56d364", "#d6a4ff", "#e6d37a"] };
  // Decades to either side of the rounding bound, where blue turns into red.
  const SCALE = 6;
  const SHADES = {
    false: ["#e3eefb", "#cfe2f8", "#b7d3f2", "#9cc1ea", "#7fabdf", "#6296d2", "#f2b04d", "#ec8a3a", "#de6230", "#c93c2a", "#a81f22", "#7d0f1a"],
    true: ["#16263a", "#1b3352", "#21416a", "#2a5184", "#35639f", "#4377bb", "#c98a1e", "#dd7a26", "#ea6a3c", "#f46156", "#fb7f86", "#ffb3b8"],
  };
  const LEVELS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const CENTRE = 26;
  const MARKS = { "=": "equal", "!": "mismatch", "?": "not compared" };
  let open = [];
  let opened = null;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const decades = (level) => (LEVELS.indexOf(level) - CENTRE) / 2;
  const described = (level) => MARKS[level] ?? (LEVELS.includes(level) ? `about 1e${decades(level)} of what rounding explains` : "nothing");
  const isBeyond = (level) => level === "!" || LEVELS.indexOf(level) > CENTRE;
  const span = ([first, last]) => (first === last ? `step ${first}` : `steps ${first} to ${last}`);

  function element(name, properties = {}, children = []) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // A table of the same, made when it is asked for: for whoever cannot see a chart.
  function asTable(header, lines) {
    const details = element("details", {}, [element("summary", { textContent: "As a table" })]);
    details.addEventListener("toggle", () => {
      if (details.children.length > 1) return;
      const head = element("tr", {}, header.map((name) => element("th", { scope: "col", textContent: name })));
      const body = lines().map((line) => element("tr", {}, line.map((cell) => element("td", { textContent: cell ?? "" }))));
      const table = element("table", {}, [element("thead", {}, [head]), element("tbody", {}, body)]);
      details.append(element("div", { className: "wide" }, [table]));
    }, { once: true });
    return details;
  }

  function base() {
    const [ink, line] = [css("--ink"), css("--line")];
    const axis = { axisLine: { lineStyle: { color: ink } }, axisLabel: { color: ink }, splitLine: { lineStyle: { color: line } }, nameTextStyle: { color: ink } };
    return {
      ink, axis,
      common: {
        animation: !still.matches,
        color: COLOURS[dark.matches],
        backgroundColor: "transparent",
        textStyle: { color: ink },
        legend: { textStyle: { color: ink }, type: "scroll", top: 0 },
        // Drawn, not HTML: what is said of a case can hold anything.
        tooltip: { renderMode: "richText", confine: true, backgroundColor: css("--shade"), borderColor: line, textStyle: { color: ink } },
      },
    };
  }

  // Shows a chart, with what it shows in words, as soon as there is room for it on the page.
  function figure(place, name, caption, height, option, table) {
    const box = element("div", { className: "chart" });
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", `${name}. ${caption}`);
    box.dataset.chart = name;
    box.style.height = `${height}px`;
    const wrapped = height > 640 ? element("div", { className: "tall", tabIndex: 0 }, [box]) : box;
    place.append(element("figure", {}, [wrapped, element("figcaption", { textContent: caption }), ...(table ? [table] : [])]));
    const chart = echarts.init(box);
    chart.setOption(option);
    open.push(chart);
  }

  function heading(place, title) {
    place.append(element("h2", { textContent: title }));
  }

  function curves(place, data) {
    if (!data.curves.length) return;
    heading(place, "Logs of each training step");
    const grid = element("div", { className: "grid" });
    place.append(grid);
    for (const curve of data.curves) {
      const { common, axis } = base();
      const values = Object.entries(curve.values).map(([name, row]) => [name, row ?? curve.values[data.references[name]]]);
      const same = Object.keys(curve.values).filter((name) => curve.values[name] === null);
      let caption = curve.name;
      if (same.length) caption += `; the same in five digits: ${same.map((name) => `${name} as ${data.references[name]}`).join(", ")}`;
      if (curve.steps.length < data.steps) caption += `; ${curve.steps.length} of ${data.steps} steps, those where targets differ most`;
      figure(grid, `Curves of ${curve.name}`, caption, 260, {
        ...common,
        tooltip: { ...common.tooltip, trigger: "axis" },
        grid: { left: 60, right: 15, top: 35, bottom: 35 },
        xAxis: { ...axis, type: "value", name: "step", nameLocation: "middle", nameGap: 22, minInterval: 1, max: "dataMax" },
        yAxis: { ...axis, type: "value", scale: true },
        series: values.map(([name, row], n) => ({
          type: "line", name, showSymbol: curve.steps.length === 1, connectNulls: false,
          lineStyle: { type: DASHES[n % DASHES.length], width: values.length - n + 1 },
          data: row.map((value, i) => [curve.steps[i], value]),
        })),
      }, asTable(["step", ...values.map(([name]) => name)], () => curve.steps.map((step, i) => [step, ...values.map(([, row]) => row[i])])));
    }
    if (data.more_curves) place.append(element("p", { className: "note", textContent: `${data.more_curves} more logs are not drawn.` }));
  }

  function heatMaps(place, data) {
    for (const map of data.maps.filter((map) => map.rows.length)) {
      const { common, axis, ink } = base();
      heading(place, `Divergence of ${map.target} from ${data.references[map.target]}`);
      const names = map.rows.map(([name]) => name);
      const cells = map.rows.flatMap(([, levels], y) => [...levels].map((level, x) => [x, y, level])).filter(([, , level]) => level !== " ");
      const measured = cells.filter(([, , level]) => LEVELS.includes(level));
      const item = ([x, y, level]) => ({ value: [x, y, decades(level)], itemStyle: isBeyond(level) ? { borderColor: ink, borderWidth: 1 } : {} });
      const flat = { "=": css("--line"), "!": css("--failed"), "?": "transparent" };
      let caption = "Observations in order of execution by step. Colour is the distance over what rounding explains, on a log scale: 1 is the rounding bound, and what is beyond it has an outline. Grey is equal bit for bit, purple a mismatch, and hollow was not compared.";
      if (map.columns.some(([first, last]) => first !== last)) caption += ` Steps are drawn together, ${map.columns.length} columns in all, each as bad as its worst.`;
      if (map.left_out) caption += ` ${map.left_out} observations that differ less are left out.`;
      figure(place, `Divergence of ${map.target}`, caption, 114 + 16 * names.length, {
        ...common,
        legend: { show: false },
        tooltip: { ...common.tooltip, formatter: ({ value, name }) => {
          const [, levels] = map.rows[value[1]];
          return `${names[value[1]]}\n${span(map.columns[value[0]])}: ${described(levels[value[0]])}`;
        } },
        grid: { left: 10, right: 20, top: 64, bottom: 40, containLabel: true },
        xAxis: { ...axis, type: "category", name: "step", nameLocation: "middle", nameGap: 25, data: map.columns.map(([first]) => String(first)) },
        yAxis: { ...axis, type: "category", inverse: true, data: names, axisLabel: { ...axis.axisLabel, fontSize: 11, interval: names.length > 120 ? "auto" : 0, width: 260, overflow: "truncate" } },
        visualMap: {
          seriesIndex: 0, type: "continuous", min: -SCALE, max: SCALE, orient: "horizontal", top: 0, left: "center", itemHeight: 320,
          inRange: { color: SHADES[dark.matches] },
        },
        title: { text: `1e-${SCALE} and less        \u25b2 rounding bound        1e${SCALE} and more`, left: "center", top: 32, textStyle: { color: ink, fontSize: 12, fontWeight: "normal" } },
        series: [
          { type: "heatmap", name: "measured", data: measured.map(item), progressive: 0 },
          { type: "heatmap", name: "other", data: cells.filter(([, , level]) => level in MARKS).map(([x, y, level]) => ({ value: [x, y, 0], itemStyle: { color: flat[level], borderColor: isBeyond(level) ? ink : css("--line"), borderWidth: 1 } })), progressive: 0 },
        ],
      }, asTable(["observation", "steps", "distance"], () => cells.filter(([, , level]) => isBeyond(level)).slice(0, 200).map(([x, y, level]) => [names[y], span(map.columns[x]), described(level)])));
    }
  }

  function gradients(place, data) {
    const { names, values, left_out } = data.gradients;
    if (!names.length) return;
    const { common, axis } = base();
    heading(place, "Gradients of the first step");
    let caption = "Root mean square of the gradient of each weight, from the last layer back, on a log scale.";
    if (left_out) caption += ` ${left_out} more weights are not drawn.`;
    figure(place, "Gradients by layer", caption, 80 + 26 * names.length, {
      ...common,
      tooltip: { ...common.tooltip, formatter: ({ seriesName, value }) => `${names[value[1]]}\n${seriesName}: ${value[0]}` },
      grid: { left: 10, right: 30, top: 35, bottom: 10, containLabel: true },
      xAxis: { ...axis, type: "log" },
      yAxis: { ...axis, type: "category", inverse: true, data: names, splitLine: { ...axis.splitLine, show: true }, axisLabel: { ...axis.axisLabel, width: 260, overflow: "truncate" } },
      // Hollow and of several sizes, so that those which agree are all seen.
      series: Object.entries(values).map(([name, row], n) => ({
        type: "scatter", name, symbol: SYMBOLS[n % SYMBOLS.length], symbolSize: Math.max(6, 16 - 4 * n),
        itemStyle: { color: "transparent", borderColor: COLOURS[dark.matches][n % 5], borderWidth: 2 },
        data: row.map((value, i) => [value > 0 ? value : null, i]),
      })),
    }, asTable(["weight", ...Object.keys(values)], () => names.map((name, i) => [name, ...Object.values(values).map((row) => row[i])])));
  }

  function graph(place, data, blamed) {
    const { layers, edges, left_out } = data.graph;
    if (!layers.length) return;
    const { common, ink } = base();
    heading(place, "The model");
    const perDepth = {};
    layers.forEach(([, depth], n) => (perDepth[depth] ??= []).push(n));
    const x = (n) => { const beside = perDepth[layers[n][1]]; return beside.indexOf(n) - (beside.length - 1) / 2; };
    const widest = Math.max(...Object.values(perDepth).map((beside) => beside.length), 4);
    const last = (path) => path.split("/").at(-1).split("#")[0];
    const state = ([path, , levels]) => (blamed.has(last(path)) ? "bad" : Object.values(levels).some(isBeyond) ? "mild" : "good");
    const words = { bad: "to blame", mild: "its output differs", good: "its output agrees" };
    let caption = "Layers in order of execution. Red is the layer to blame, amber are others whose output differs. A solid line is a value that was handed on, a dotted one only the order.";
    if (left_out) caption += ` ${left_out} more layers are not drawn.`;
    figure(place, "The model's graph", caption, 60 + 56 * Object.keys(perDepth).length, {
      ...common,
      tooltip: { ...common.tooltip, formatter: ({ dataType, dataIndex }) => (dataType === "node" ? `${layers[dataIndex][0]}: ${words[state(layers[dataIndex])]}` : "") },
      legend: { show: false },
      grid: { left: 0, right: 0, top: 30, bottom: 30 },
      xAxis: { type: "value", show: false, min: -widest / 2, max: widest / 2 },
      yAxis: { type: "value", show: false, inverse: true, min: 0, max: Math.max(...layers.map(([, depth]) => depth), 1) },
      series: [{
        type: "graph", coordinateSystem: "cartesian2d", symbol: "rect", symbolSize: [150, 28], edgeSymbol: ["none", "arrow"], edgeSymbolSize: 8,
        data: layers.map((layer, n) => ({
          id: String(n), value: [x(n), layer[1]], itemStyle: { color: css("--paper"), borderColor: css(`--${state(layer)}`), borderWidth: blamed.has(last(layer[0])) ? 4 : 2 },
          label: { show: true, formatter: () => last(layer[0]), color: ink, width: 150, overflow: "truncate" },
        })),
        links: edges.map(([source, target, known]) => ({ source: String(source), target: String(target), lineStyle: { type: known ? "solid" : "dotted", color: ink, opacity: 0.7, curveness: layers[target][1] - layers[source][1] > 1 ? 0.9 : 0 } })),
      }],
    }, asTable(["layer", "given by", "state"], () => layers.map((layer, n) => [layer[0], edges.filter((edge) => edge[1] === n).map((edge) => layers[edge[0]][0]).join(", "), words[state(layer)]])));
  }

  // One case at a time

  function close() {
    for (const chart of open) chart.dispose();
    open = [];
    opened?.querySelector(".charts").replaceChildren();
    opened = null;
    document.title = overviewTitle;
  }

  function show() {
    close();
    const number = articles.indexOf(byId(decodeURIComponent(location.hash.slice(1))));
    if (number < 0) return;
    opened = articles[number];
    document.title = `${opened.querySelector("h1").textContent} - harness`;
    const place = opened.querySelector(".charts");
    const data = all.cases[number];
    if (data === null) {
      place.append(element("p", { className: "note", textContent: "There is no room on this page for the charts of this case: make a page of fewer cases." }));
    } else {
      graph(place, data, new Set(all.blamed[number]));
      curves(place, data);
      heatMaps(place, data);
      gradients(place, data);
    }
    open.forEach((chart) => chart.resize()); // what came later may have left it less room
    opened.querySelector("h1").focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  function step(by) {
    const shown = rows.filter((row) => !row.hidden).map((row) => row.cells[0].querySelector("a").hash);
    if (!shown.length) return;
    const here = shown.indexOf(location.hash);
    location.hash = shown[here < 0 ? 0 : (here + by + shown.length) % shown.length];
  }

  addEventListener("hashchange", show);
  addEventListener("resize", () => open.forEach((chart) => chart.resize()));
  dark.addEventListener("change", show);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = ["INPUT", "SELECT"].includes(event.target.tagName);
    if (event.key === "Escape" && opened) location.hash = "#overview";
    else if (isTyping) return;
    else if (event.key === "n") step(1);
    else if (event.key === "p") step(-1);
    else if (event.key === "/" && !opened) { event.preventDefault(); text.focus(); }
  });

  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const script = button.closest(".script").querySelector("pre");
      getSelection().selectAllChildren(script); // so that it can be copied by hand where a browser refuses
      try {
        await navigator.clipboard.writeText(script.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it with the keyboard";
      }
    });
  }

  show();
})();
