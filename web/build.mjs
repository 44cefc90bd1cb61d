// Bundle each page into src/unetkit/bundles/: one JavaScript file and one style sheet a page, nothing from elsewhere.
// `node build.mjs --watch` builds again after every change.
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { context } from "esbuild";

const out = new URL("../src/unetkit/bundles/", import.meta.url).pathname;
const servers = ["serve", "label"]; // their pages are one shell around a script; page.html says more
// ONNX Runtime's WebAssembly: the plain one, and the one that waits for a GPU where the browser can do that.
const runtimes = ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.jspi"];

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const bundle = await context({
  entryPoints: [...servers, "page", "worker"].map((name) => `src/${name}.ts`),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  conditions: ["onnxruntime-web-use-extern-wasm"], // else the runtime's glue is a part of the worker, and threads start it
  outdir: out,
});
const shell = await readFile("src/app.html", "utf8");
for (const name of servers) await writeFile(`${out}/${name}.html`, shell.replaceAll("NAME", name));
await copyFile("src/page.html", `${out}/page.html`);
for (const name of runtimes) {
  for (const suffix of ["mjs", "wasm"]) await copyFile(`node_modules/onnxruntime-web/dist/${name}.${suffix}`, `${out}/${name}.${suffix}`);
}
if (process.argv.includes("--watch")) await bundle.watch();
else {
  await bundle.rebuild();
  await bundle.dispose();
}
