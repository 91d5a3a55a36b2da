// What makes the built page work without a network: icons, and the list of its files in front of the service worker.

import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { Plugin } from "vite";
import { icon } from "./icons.ts";

const SCRIPT = "sw.js";
/** What the worker is made of, which the bundler's own list of licences does not see. */
const PACKAGES = ["onnxruntime-web", "onnxruntime-common", "@jsquash/jpeg"];
const PLACE = new URL("../node_modules/", import.meta.url);
/** What the page never asks for. */
const LEFT_OUT = new Set([SCRIPT, "assets/licenses.md"]);

export function offline(): Plugin {
  let folder = "";
  return {
    name: "catenary-offline",
    apply: "build",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    generateBundle() {
      for (const side of [192, 512]) {
        this.emitFile({ type: "asset", fileName: `icon-${side}.png`, source: icon(side, false) });
      }
      this.emitFile({ type: "asset", fileName: "icon-maskable.png", source: icon(512, true) });
    },
    closeBundle() {
      appendFileSync(join(folder, "assets/licenses.md"), licences());
      const files = everyFile(folder)
        .map((path) => relative(folder, path).split(sep).join("/"))
        .filter((name) => !LEFT_OUT.has(name))
        .sort()
        .map((name) => {
          const bytes = readFileSync(join(folder, name));
          return [name, createHash("sha256").update(bytes).digest("hex"), bytes.length];
        });
      const script = join(folder, SCRIPT);
      const code = readFileSync(script, "utf8");
      const version = createHash("sha256").update(JSON.stringify(files)).update(code).digest("hex").slice(0, 12);
      writeFileSync(script, `self.FILES=${JSON.stringify(files)};self.VERSION="${version}";\n${code}`);
    },
  };
}

function everyFile(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? everyFile(path) : [path];
  });
}

function licences(): string {
  const each = PACKAGES.map((name) => {
    const { version, license, author } = JSON.parse(readFileSync(new URL(`${name}/package.json`, PLACE), "utf8"));
    const text = new URL(`${name}/LICENSE`, PLACE);
    const owner = name.startsWith("onnxruntime") ? "Copyright (c) Microsoft Corporation" : (author?.name ?? author ?? "");
    return `\n## ${name} ${version}\n\n${license}. ${owner}\n${existsSync(text) ? `\n${readFileSync(text, "utf8")}\n` : ""}`;
  });
  const jpeg = "\nThe JPEG decoder is based in part on the work of the Independent JPEG Group (libjpeg-turbo, MozJPEG).\n";
  return `\n# What the screening runs on\n${each.join("")}${jpeg}`;
}
