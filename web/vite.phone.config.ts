// The page for the phone. A build of its own, so that static/phone is whole and works from any static host,
// and so that its service worker's scope holds all it needs.
import { readFileSync } from "node:fs";
import { defineConfig } from "vite";
import { offline } from "./phone/offline.ts";

const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as { version: string };

export default defineConfig({
  root: "phone",
  base: "./",
  publicDir: "public",
  define: { __PAGE__: JSON.stringify(version) },
  plugins: [offline()],
  worker: { format: "es" },
  build: {
    outDir: "../../src/catenary/serve/static/phone",
    emptyOutDir: true,
    target: "es2022",
    license: { fileName: "assets/licenses.md" },
    chunkSizeWarningLimit: 4000,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: "phone/index.html", sw: "src/phone/sw.ts" },
      output: { entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
  server: { host: "127.0.0.1", fs: { allow: [".."] } },
});
