// What the npm package has beside the page's modules, made before it is packed and removed after it:
//   node npm-pack.cjs make | remove
const { execFileSync } = require("node:child_process");
const { copyFileSync, rmSync } = require("node:fs");

const COPIES = [["../LICENSE", "LICENSE"], ["../../docs/javascript.md", "README.md"], ["net/messages.d.ts", "types/net/messages.d.ts"]];

if (process.argv[2] === "make") {
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "--project", "package.tsconfig.json"], { stdio: "inherit" });
  for (const [from, to] of COPIES) copyFileSync(from, to);
} else {
  for (const made of ["types", "LICENSE", "README.md"]) rmSync(made, { recursive: true });
}
