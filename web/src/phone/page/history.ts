// Results kept on this device: what was found, when, and a small picture.

import type { Finding } from "../talk.ts";

export interface Kept {
  readonly id: number;
  readonly when: string;
  readonly finding: Finding;
  readonly picture: Blob | null;
}

const NAME = "catenary-screening";
const STORE = "results";
/** Longest side of a kept picture. */
const SIDE = 640;

function opened(): Promise<IDBDatabase> {
  const asked = indexedDB.open(NAME, 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
  return done(asked);
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function within<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await opened();
  try {
    const transaction = database.transaction(STORE, mode);
    const finished = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
    });
    const answer = await done(act(transaction.objectStore(STORE)));
    await finished;
    return answer;
  } finally {
    database.close();
  }
}

/** Keep a result with a smaller copy of its picture. */
export async function keep(finding: Finding, shown: Blob | null): Promise<Kept> {
  const record = { when: new Date().toISOString(), finding, picture: shown && (await smaller(shown)) };
  const id = await within("readwrite", (store) => store.add(record));
  return { id: Number(id), ...record };
}

/** All results, the last one first. */
export async function everyResult(): Promise<Kept[]> {
  return (await within<Kept[]>("readonly", (store) => store.getAll())).reverse();
}

export function forget(id: number): Promise<undefined> {
  return within("readwrite", (store) => store.delete(id));
}

export function forgetAll(): Promise<undefined> {
  return within("readwrite", (store) => store.clear());
}

async function smaller(picture: Blob): Promise<Blob> {
  const bitmap = await createImageBitmap(picture);
  const factor = Math.min(1, SIDE / Math.max(bitmap.height, bitmap.width));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * factor), Math.round(bitmap.height * factor));
  const context = canvas.getContext("2d")!;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
}
