(() => {
  "use strict";

  /* Cells whose first line is "# tfcourse.module: name" hold the text of the package. */
  for (const cell of document.querySelectorAll(".cell")) {
    const first = cell.querySelector(".cell_input pre .c1");
    if (!first || !/^# tfcourse\.\w+: \w+$/.test(first.textContent)) continue;
    cell.classList.add("tfc-woven");
    first.classList.add("tfc-woven-name");
    first.title = "This cell holds the text of the package, word for word.";
  }

  /* What scrolls sideways on a phone can be scrolled with the keyboard. */
  for (const box of document.querySelectorAll(".cell_output :is(figure, .output)")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }

  /* Paper is light. */
  const root = document.documentElement;
  let theme = root.dataset.theme;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
  });

  /* Figures come to life: no kernel, no module loader, no other server. Each .tfc-host
     holds a still picture, which stays where something goes wrong. */
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const models = new Map();

  /** What a figure expects of a model, without a kernel behind it. */
  function makeModel(state) {
    const listeners = new Map();
    return {
      get: (name) => state[name],
      set(name, value) {
        if (state[name] === value) return;
        state[name] = value;
        for (const listener of listeners.get(`change:${name}`) ?? []) listener();
      },
      save_changes() {},
      on(event, listener) {
        listeners.set(event, [...(listeners.get(event) ?? []), listener]);
      },
      off: (event) => listeners.delete(event),
    };
  }

  /** The states of all widgets of this page, by their model's id. */
  function readStates() {
    const scripts = [...document.querySelectorAll(STATE)];
    return Object.assign({}, ...scripts.map((s) => JSON.parse(s.textContent).state));
  }

  /** The figure that belongs into this host, and its model; undefined if it is not ours. */
  function find(host, states) {
    const view = host.querySelector(VIEW);
    const id = view && JSON.parse(view.textContent).model_id;
    const state = states[id]?.state ?? {};
    const name = host.dataset.figure ?? state._anywidget_id?.split(".").pop();
    const figure = globalThis.tfcourseFigures?.[name];
    if (!figure) return undefined;
    const key = id ?? host;
    if (!models.has(key)) models.set(key, makeModel({ ...figure.settings, ...state }));
    return { figure, model: models.get(key) };
  }

  function mount(host, states) {
    if (host.dataset.state) return;
    const found = find(host, states);
    if (!found) return;
    const el = document.createElement("div");
    const still = [...host.childNodes];
    host.append(el);
    try {
      found.figure.render({ model: found.model, el });
      still.forEach((node) => node.remove());
      host.dataset.state = "ready";
    } catch (error) {
      el.remove();
      host.dataset.state = "failed";
      console.error(error);
    }
  }

  const states = readStates();
  const hosts = [...document.querySelectorAll(".tfc-host")];
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        mount(target, states);
      }
    },
    { rootMargin: "400px" },
  );
  hosts.forEach((host) => watcher.observe(host));
  addEventListener("beforeprint", () => hosts.forEach((host) => mount(host, states)));
})();
