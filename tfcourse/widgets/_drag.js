/** A press, and dragging from there on, calls move with each event, if it begins as it may. */
function draggable(holder, move, begins = () => true) {
  holder.addEventListener("pointerdown", (event) => {
    if (!begins(event)) return;
    holder.setPointerCapture(event.pointerId);
    holder.addEventListener("pointermove", move);
    move(event);
  });
  for (const end of ["pointerup", "pointercancel"])
    holder.addEventListener(end, () => holder.removeEventListener("pointermove", move));
}
