/** A model for a slider that shows a part of a trait, or the trait on another scale. */
function lens(model, trait, look, put) {
  return {
    get: () => look(model.get(trait)),
    set: (_, value) => model.set(trait, put(value)),
    on: (_, listener) => model.on(`change:${trait}`, listener),
    save_changes: () => model.save_changes(),
  };
}
