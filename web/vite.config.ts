// The page at the desk. Its base is relative: it works below any path.
import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/catenary/serve/static",
    emptyOutDir: true,
    target: "es2022",
    license: { fileName: "assets/licenses.md" },
    chunkSizeWarningLimit: 4000,
  },
  server: { host: "127.0.0.1", proxy: { "/api": "http://127.0.0.1:8000" } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
