/** A result on the page; `destroy` frees what it holds. */
export interface Shown {
  element: HTMLElement;
  /** Called when the element lies on the page and has its size. */
  start?: () => void;
  destroy: () => void;
}
