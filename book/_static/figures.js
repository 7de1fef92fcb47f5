// Draws every figure of the page with the one local copy of plotly.js, in the page's colours.
(() => {
  "use strict";
  const library = new URL("plotly.min.js", document.currentScript.src).href;
  const config = { displayModeBar: false, displaylogo: false };

  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Only the template changes: a colour that the figure sets itself stays.
  const themed = (layout) => {
    const text = colour("--pst-color-text-base");
    const axis = { gridcolor: colour("--pst-color-border"), linecolor: text, tickcolor: text };
    const template = structuredClone(layout.template || {});
    const base = (template.layout ||= {});
    base.font = { ...base.font, color: text };
    base.paper_bgcolor = base.plot_bgcolor = "rgba(0,0,0,0)";
    base.xaxis = { ...base.xaxis, ...axis };
    base.yaxis = { ...base.yaxis, ...axis };
    base.hoverlabel = { bgcolor: colour("--pst-color-surface"), font: { color: text } };
    return { ...layout, template, autosize: true, width: undefined };
  };

  const load = () =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = library;
      script.onload = resolve;
      script.onerror = () => reject(new Error("plotly.min.js did not load"));
      document.head.append(script);
    });

  const draw = async (figure) => {
    const plot = figure.querySelector(".v2s-plot");
    const spec = JSON.parse(figure.querySelector("script").textContent);
    await Plotly.newPlot(plot, { ...spec, layout: themed(spec.layout), config });
    figure.classList.add("v2s-drawn");
    // Also covers a sidebar that opens and a figure that was hidden while it was drawn.
    new ResizeObserver(() => plot.clientWidth && Plotly.Plots.resize(plot)).observe(plot);
    new MutationObserver(() =>
      Plotly.react(plot, plot.data, themed(plot.layout), config),
    ).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  };

  document.addEventListener("DOMContentLoaded", async () => {
    const figures = document.querySelectorAll(".v2s-figure");
    if (!figures.length) return;
    await load();
    for (const figure of figures) await draw(figure);
  });
})();
