// Validate AsyncAPI documents against the official schema and rules: node check.js FILE…
// Prints a JSON object: the errors and warnings of each file, as "path: message".
const { readFileSync } = require('node:fs');
const { Parser } = require('@asyncapi/parser');

const ERROR_OR_WARNING = 1;

async function main(files) {
  const parser = new Parser();
  const found = {};
  for (const file of files) {
    const { document, diagnostics } = await parser.parse(readFileSync(file, 'utf8'));
    found[file] = diagnostics
      .filter((diagnostic) => diagnostic.severity <= ERROR_OR_WARNING)
      .map((diagnostic) => `${diagnostic.path.join('.')}: ${diagnostic.message}`);
    if (!document && found[file].length === 0) found[file].push('not an AsyncAPI document');
  }
  console.log(JSON.stringify(found));
}

main(process.argv.slice(2));
