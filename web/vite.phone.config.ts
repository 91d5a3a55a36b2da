// The page for the phone. A build of its own, so that static/phone is whole and works from any static host,
// and so that its service worker's scope holds all it needs.
import { defineConfig } from "vite";

export default defineConfig({
  root: "phone",
  base: "./",
  publicDir: "public",
  build: {
    outDir: "../../src/catenary/serve/static/phone",
    emptyOutDir: true,
    target: "es2022",
    license: { fileName: "assets/licenses.md" },
    chunkSizeWarningLimit: 4000,
  },
  server: { host: "127.0.0.1", fs: { allow: [".."] } },
});
