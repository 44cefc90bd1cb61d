// Bundle each page into src/unetkit/bundles/: one JavaScript file and one style sheet a page, nothing from elsewhere.
// `node build.mjs --watch` builds again after every change.
import { copyFile, mkdir, rm } from "node:fs/promises";
import { context } from "esbuild";

const out = new URL("../src/unetkit/bundles/", import.meta.url).pathname;
const pages = ["serve"];

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
const bundle = await context({
  entryPoints: pages.map((page) => `src/${page}.ts`),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "linked",
  outdir: out,
});
for (const page of pages) await copyFile(`src/${page}.html`, `${out}/${page}.html`);
if (process.argv.includes("--watch")) await bundle.watch();
else {
  await bundle.rebuild();
  await bundle.dispose();
}
