// Where a file comes in: dropped anywhere on the page, pasted, or chosen by a button.
import { el } from "./dom";

/** Call `take` with each file that is dropped on the page or pasted into it. */
export function onDrop(stage: HTMLElement, take: (file: File) => void): void {
  let inside = 0; // enter and leave come for every child
  const mark = (change: number) => {
    inside = Math.max(0, inside + change);
    stage.classList.toggle("dropping", inside > 0);
  };
  addEventListener("dragenter", () => mark(1));
  addEventListener("dragleave", () => mark(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    mark(-inside);
    const file = event.dataTransfer?.files[0];
    if (file !== undefined) take(file);
  });
  addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file !== undefined) take(file);
  });
}

/** A hidden file input; `choose()` opens the system's dialog. */
export function chooser(accept: string, take: (file: File) => void): { input: HTMLInputElement; choose: () => void } {
  const input = el("input", {
    type: "file", accept, hidden: true,
    on: {
      change: () => {
        const file = input.files?.[0];
        if (file !== undefined) take(file);
        input.value = ""; // so that the same file can be chosen again
      },
    },
  });
  return { input, choose: () => input.click() };
}
