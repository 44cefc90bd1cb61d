// Bundle each page into src/unetkit/bundles/: one JavaScript file and one style sheet a page, nothing from elsewhere.
// `node build.mjs --watch` builds again after every change.
import { copyFile, mkdir, rm } from "node:fs/promises";
import { context } from "esbuild";

const out = new URL("../src/unetkit/bundles/", import.meta.url).pathname;
const pages = ["serve", "label", "page"];
// ONNX Runtime's WebAssembly: the plain one, and the one that waits for a GPU where the browser can do that.
const runtimes = ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.jspi"];

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const bundle = await context({
  entryPoints: [...pages, "worker"].map((name) => `src/${name}.ts`),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  conditions: ["onnxruntime-web-use-extern-wasm"], // else the runtime's glue is a part of the worker, and threads start it
  outdir: out,
});
for (const page of pages) await copyFile(`src/${page}.html`, `${out}/${page}.html`);
for (const name of runtimes) {
  for (const suffix of ["mjs", "wasm"]) await copyFile(`node_modules/onnxruntime-web/dist/${name}.${suffix}`, `${out}/${name}.${suffix}`);
}
if (process.argv.includes("--watch")) await bundle.watch();
else {
  await bundle.rebuild();
  await bundle.dispose();
}
