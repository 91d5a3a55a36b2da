/** A result on the page; `destroy` frees what it holds. */
export interface Shown {
  element: HTMLElement;
  destroy: () => void;
}
